"""A door before the Google Cloud Storage server, which lets in one account, as Google does; the server itself asks nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from object_stores import SECRET


class Door(BaseHTTPRequestHandler):
    """Gives a token to every account that asks for one, and lets in that named owner; others are named after its answer to them.

    Refusals repeat what was sent, the worst that a server can do.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, inside: str, *args) -> None:
        self.inside = inside.removeprefix("http://")
        super().__init__(*args)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = self.headers.get("Authorization", "")
        if self.path.startswith("/token/"):
            name = self.path.removeprefix("/token/")
            self.answer(200, {"access_token": f"{SECRET}-{name}", "expires_in": 3600, "token_type": "Bearer"})
        elif sent == f"Bearer {SECRET}-owner":
            self.answer(*self.asked_inside(body))
        else:
            code = int(sent.rpartition("-")[2] or 401)
            self.answer(code, {"error": {"code": code, "message": f"{sent} is {'invalid' if code == 400 else 'not welcome'}"}})

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def asked_inside(self, body: bytes) -> tuple[int, bytes]:
        inside = HTTPConnection(self.inside, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name in ("Content-Type", "Range")}
        inside.request(self.command, self.path, body, kept)
        with inside.getresponse() as response:
            return response.status, response.read()

    def answer(self, code: int, content: bytes | dict) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


@contextmanager
def guarded(inside: str) -> Iterator[str]:
    """Address of a door before the server at the address `inside`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, inside)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def account(folder: Path, name: str, door: str) -> Path:
    """The file of a service account's key, as Google gives it out, which gets its token at the door."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    told = {"type": "service_account", "project_id": "tests", "private_key": key.decode(), "token_uri": f"{door}/token/{name}"}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(told | {"private_key_id": SECRET, "client_email": f"{name}@tests.example", "client_id": SECRET}))
    return path
