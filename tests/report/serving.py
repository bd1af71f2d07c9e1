"""A folder that is served, and how it is asked."""

from __future__ import annotations

import http.client

from isofield.report.server import FolderServer

CHUNK = bytes(range(256))
SECRET = b"not for the browser"
CHUNK_PATH = "/isotropic.ome.zarr/c/0"


def ask(server: FolderServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request with the path exactly as given; urllib and requests would tidy it up first."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body
