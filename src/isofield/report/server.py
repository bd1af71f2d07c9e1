"""A loopback file server for a run's folder and the neuroglancer client of the Python package."""

from __future__ import annotations

import json
import socket
import sys
import threading
import webbrowser
from http.server import ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from isofield.errors import InputError
from isofield.report.handler import CLIENT_PATH, Handler
from isofield.report.neuroglancer import fragment, with_base

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class FolderServer(ThreadingHTTPServer):
    """Serves one folder, read-only, from a background thread until closed. A context manager."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, client: Path, port: int, host: str, image: Path | None = None) -> None:
        self.root, self.client, self.image = root, client, image
        self.stopping = threading.Event()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """http://host:port, without a slash at the end."""
        host, port = self.server_address[:2]
        return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"

    def neuroglancer_link(self, state: dict[str, Any]) -> str:
        """Address that opens `state` in the bundled client; `{base}` in its sources is this server."""
        return self.address + CLIENT_PATH + fragment(with_base(state, self.address))

    def close(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __exit__(self, *args: object) -> None:
        self.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that stops listening is no error of ours; anything else is printed as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def serve(folder: Path | str, port: int = 0, host: str = "127.0.0.1", image: Path | str | None = None) -> FolderServer:
    """Start serving `folder` on the loopback interface; port 0 takes a free one. Close the server to stop.

    Nothing outside the folder can be read, links included, but for the folder `image`, which is served as
    `/isotropic.ome.zarr/`. Answers GET and HEAD with CORS headers, byte
    ranges (suffix and open-ended too) and OPTIONS; `/neuroglancer/` is the bundled client, which needs no
    internet.

    Raises InputError for a folder that does not exist, a port in use and an address that other machines could
    reach.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise InputError("folder to serve", str(folder), "is not a folder", "Name the folder of a run.")
    if host not in _LOOPBACK:
        raise InputError(
            "host",
            host,
            f"only {', '.join(_LOOPBACK)} are served",
            "From another machine, forward the port with ssh -L.",
        )
    try:
        return FolderServer(root, client_folder(), port, host, None if image is None else Path(image).resolve())
    except (OSError, OverflowError) as error:
        raise InputError("port", port, f"cannot be listened on ({error})", "Take another, or 0 for any free one.") from error


def client_folder() -> Path:
    """Where the installed `neuroglancer` package keeps its client, found without importing the package."""
    found = find_spec("neuroglancer")
    folder = Path(found.origin).parent / "static" / "client" if found and found.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise InputError(
            "neuroglancer client",
            str(folder),
            "is not installed",
            "Install the neuroglancer package (pip install neuroglancer).",
        )
    return folder


def view(run_folder: Path | str, port: int = 0, open_browser: bool = False, image: str | None = None) -> None:
    """Serve a run's folder, print the links to its viewer and its report, and wait for Ctrl-C.

    image: path or URI of an isotropic image that lies elsewhere; the viewer reads one on the network by itself.

    Raises InputError where the folder has no readable neuroglancer.json.
    """
    path = Path(run_folder) / "neuroglancer.json"
    try:
        state = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            "run folder",
            str(run_folder),
            "has no neuroglancer.json",
            "Give the folder of a finished run, results/<run name>.",
        ) from None
    except ValueError as error:
        raise InputError(str(path), "not JSON", str(error), "Delete it and run `isofield report` again.") from error
    remote = image if image and "://" in image else None
    with serve(run_folder, port, image=None if remote else image) as server:
        link = server.neuroglancer_link(state)
        if (server.root / "report" / "index.html").is_file():
            print(f"Report        {server.address}/report/")
        print(f"Neuroglancer  {link}")
        if remote:
            print(f"Isotropic image {remote}: the browser reads it from there, which needs public read access and CORS.")
        try:
            print("Serving on this machine only. Ctrl-C stops.", flush=True)
            if open_browser:
                webbrowser.open(link)
            # Not for ever at once: a signal that comes just before a wait begins, or to another thread, does not end it.
            while not server.stopping.wait(0.5):
                pass
        except KeyboardInterrupt:
            print("Stopped.")
