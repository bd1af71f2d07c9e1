"""One HTTP request to the run's folder: what may be read, which bytes of it, with which headers."""

from __future__ import annotations

import mimetypes
import os
import re
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from isofield.report.server import FolderServer

CLIENT_PATH = "/neuroglancer/"
IMAGE_PATH = "/isotropic.ome.zarr/"
"""Where an image is served that lies outside the run's folder."""
# The bundled client works out its server's address from a path of this form and stops where it finds another.
CLIENT_HOME = f"{CLIENT_PATH}v/run/"
CLIENT_EVENTS = f"{CLIENT_PATH}events/run"
_KEEPALIVE_S = 15.0
_PIECE_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".map": "application/json",
}


def file_within(root: Path, url_path: str) -> Path | None:
    """The file or folder a URL path names under `root`, links followed; None where it is outside or missing.

    Percent escapes are decoded once. Refused as they stand: `..` segments, backslashes, NUL.
    """
    relative = unquote(url_path).lstrip("/")
    if "\0" in relative or "\\" in relative or ".." in relative.split("/"):
        return None
    try:
        real = (root / relative).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return real if real.is_relative_to(root.resolve()) else None


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and one-past-last byte of a `Range` header; None: the whole file (no range, or one to ignore).

    Understands `a-b`, `a-` and the suffix `-n`; several ranges are answered with the whole file, as RFC 9110
    permits. Raises ValueError where no byte of the file is in the range (status 416).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if begin >= end:
        raise ValueError(f"range {header!r} holds no byte of {size}")
    return begin, end


class Handler(BaseHTTPRequestHandler):
    """GET, HEAD and OPTIONS; everything else is refused by the base class."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: FolderServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        self._head(HTTPStatus.NO_CONTENT, {"Content-Length": "0"})

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a viewer asks for thousands of chunks."""

    def end_headers(self) -> None:
        # On every answer, errors too: a chunk that does not exist must be a readable 404, not a CORS failure.
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "Range, If-Match, If-None-Match, Cache-Control, Content-Type")
        self.send_header("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag")
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def _answer(self, with_body: bool) -> None:
        path = urlsplit(self.path).path
        if path == "/favicon.ico":
            self._head(HTTPStatus.NO_CONTENT, {"Content-Length": "0"})
        elif path == CLIENT_EVENTS:
            self._keep_client_waiting(with_body)
        elif path.startswith(CLIENT_HOME):
            self._send_from(self.server.client, path.removeprefix(CLIENT_HOME), with_body)
        elif path in (CLIENT_PATH, CLIENT_PATH.rstrip("/")):
            self._redirect(CLIENT_HOME)
        elif self.server.image and path.startswith(IMAGE_PATH):
            self._send_from(self.server.image, path.removeprefix(IMAGE_PATH), with_body)
        elif path == "/" and not (self.server.root / "index.html").exists():
            self._redirect("/report/")
        else:
            self._send_from(self.server.root, path, with_body)

    def _send_from(self, root: Path, url_path: str, with_body: bool) -> None:
        real = file_within(root, url_path)
        if real is not None and real.is_dir():
            if url_path and not url_path.endswith("/"):
                return self._redirect("/" + quote(unquote(url_path).strip("/")) + "/")
            real = file_within(root, url_path.rstrip("/") + "/index.html")
        if real is None or not real.is_file():
            return self.send_error(HTTPStatus.NOT_FOUND)
        try:
            # The links were resolved and checked; O_NOFOLLOW keeps one that is put there since from being
            # followed.
            handle = os.fdopen(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        except OSError:
            return self.send_error(HTTPStatus.FORBIDDEN)
        with handle:
            self._send_file(handle, real.suffix, with_body)

    def _send_file(self, handle: BinaryIO, suffix: str, with_body: bool) -> None:
        about = os.fstat(handle.fileno())
        try:
            # RFC 9110 defines Range for GET alone.
            wanted = byte_range(self.headers.get("Range"), about.st_size) if with_body else None
        except ValueError:
            empty = {"Content-Range": f"bytes */{about.st_size}", "Content-Length": "0"}
            return self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, empty)
        begin, end = wanted or (0, about.st_size)
        headers = {
            "Content-Type": _TYPES.get(suffix) or mimetypes.guess_type("x" + suffix)[0] or "application/octet-stream",
            "Content-Length": str(end - begin),
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(about.st_mtime, usegmt=True),
        }
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{about.st_size}"
        self._head(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, headers)
        handle.seek(begin)
        while with_body and begin < end:
            piece = handle.read(min(_PIECE_BYTES, end - begin))
            if not piece:
                # The file shrank after its length was promised: the connection must not be used again.
                self.close_connection = True
                break
            self.wfile.write(piece)
            begin += len(piece)

    def _keep_client_waiting(self, with_body: bool) -> None:
        """An event stream without events: without one the bundled client shows an error."""
        self.close_connection = True
        self._head(HTTPStatus.OK, {"Content-Type": "text/event-stream", "Connection": "close"})
        while with_body:
            self.wfile.write(b": nothing to say\n\n")
            if self.server.stopping.wait(_KEEPALIVE_S):
                break

    def _redirect(self, to: str) -> None:
        self._head(HTTPStatus.FOUND, {"Location": to, "Content-Length": "0"})

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
