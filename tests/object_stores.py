"""What the servers of object stores have in common: a process of its own on loopback, a bucket, files put there."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

BUCKET = "volumes"
SECRET = "planted/secret+that-must-not-be-found"


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by what its key is in a store."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def answering(command: Sequence[str], environment: Mapping[str, str], health: str = "/") -> Iterator[str]:
    """Address of the server that `command`, followed by the number of a free port, starts. health: a path that it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}{health}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(address: str, process: subprocess.Popen, timeout_s: float = 300) -> None:
    begun = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(address, timeout=30).close()
            return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() - begun < timeout_s, "the server does not answer"
            time.sleep(0.1)
