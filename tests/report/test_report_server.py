"""The file server, by real requests: byte ranges, headers, the client, and `view` itself."""

from __future__ import annotations

import ctypes
import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import CHUNK, CHUNK_PATH, ask

from isofield.errors import InputError
from isofield.report.handler import byte_range
from isofield.report.server import FolderServer, client_folder, serve, view


def test_whole_file(server: FolderServer) -> None:
    response, body = ask(server, CHUNK_PATH)
    assert (response.status, body) == (200, CHUNK)
    assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "begin", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=255-255", 255, 256),
        ("bytes=250-", 250, 256),
        ("bytes=-16", 240, 256),
        ("bytes=-9999", 0, 256),
        ("bytes=200-9999", 200, 256),
    ],
)
def test_range(server: FolderServer, header: str, begin: int, end: int) -> None:
    response, body = ask(server, CHUNK_PATH, Range=header)
    assert (response.status, body) == (206, CHUNK[begin:end])
    assert response.headers["Content-Range"] == f"bytes {begin}-{end - 1}/256"
    assert response.headers["Content-Length"] == str(end - begin)


@pytest.mark.parametrize("header", ["bytes=256-", "bytes=256-300", "bytes=-0"])
def test_range_beyond_the_end_is_416(server: FolderServer, header: str) -> None:
    response, body = ask(server, CHUNK_PATH, Range=header)
    assert (response.status, body) == (416, b"")
    assert response.headers["Content-Range"] == "bytes */256"


def test_any_range_of_an_empty_file_is_416(server: FolderServer) -> None:
    assert ask(server, "/empty", Range="bytes=0-")[0].status == 416
    assert ask(server, "/empty")[0].status == 200


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=0-1", "nonsense"])
def test_range_to_ignore_gives_the_whole_file(server: FolderServer, header: str) -> None:
    response, body = ask(server, CHUNK_PATH, Range=header)
    assert (response.status, body) == (200, CHUNK)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_byte_range_holds_the_bytes_python_would_slice(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    for header, expected in (
        (f"bytes={first}-{max(first, last)}", data[first : max(first, last) + 1]),
        (f"bytes={first}-", data[first:]),
        (f"bytes=-{last}", data[-last:] if last else b""),
    ):
        if expected:
            begin, end = byte_range(header, size) or (0, 0)
            assert data[begin:end] == expected
        else:
            with pytest.raises(ValueError, match="holds no byte"):
                byte_range(header, size)


def test_head_has_the_length_and_no_body_even_with_a_range(server: FolderServer) -> None:
    for headers in ({}, {"Range": "bytes=0-9"}):
        response, body = ask(server, CHUNK_PATH, "HEAD", **headers)
        assert (response.status, body) == (200, b"")
        assert response.headers["Content-Length"] == "256"


def test_one_connection_survives_every_kind_of_answer(server: FolderServer) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    connection.connect()
    line = connection.sock
    for method, path, headers, status in (
        ("HEAD", CHUNK_PATH, {}, 200),
        ("GET", CHUNK_PATH, {"Range": "bytes=900-"}, 416),
        ("OPTIONS", CHUNK_PATH, {}, 204),
        ("GET", "/neuroglancer/", {}, 302),
        ("GET", CHUNK_PATH, {"Range": "bytes=-4"}, 206),
    ):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == status, (method, path)
        assert connection.sock is line, f"{method} {path} closed the connection"
    assert body == CHUNK[-4:]
    connection.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (CHUNK_PATH, {}, 200),
        (CHUNK_PATH, {"Range": "bytes=0-1"}, 206),
        (CHUNK_PATH, {"Range": "bytes=999-"}, 416),
        ("/isotropic.ome.zarr/c/1", {}, 404),
    ],
)
def test_cors_on_every_answer_missing_chunks_too(server: FolderServer, path: str, headers: dict, status: int) -> None:
    response, _ = ask(server, path, Origin="https://neuroglancer-demo.appspot.com", **headers)
    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Range" in response.headers["Access-Control-Expose-Headers"]


def test_preflight_allows_range(server: FolderServer) -> None:
    response, body = ask(
        server,
        CHUNK_PATH,
        "OPTIONS",
        Origin="https://neuroglancer-demo.appspot.com",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range",
        Access_Control_Request_Private_Network="true",
    )
    assert (response.status, body) == (204, b"")
    assert {"GET", "HEAD"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    assert "Range" in response.headers["Access-Control-Allow-Headers"]
    assert response.headers["Access-Control-Allow-Private-Network"] == "true"


def test_folders_are_not_listed_and_their_index_is_served(server: FolderServer) -> None:
    assert ask(server, "/isotropic.ome.zarr/")[0].status == 404
    redirect, _ = ask(server, "/report")
    assert (redirect.status, redirect.headers["Location"]) == (302, "/report/")
    response, body = ask(server, "/report/")
    assert response.headers["Content-Type"] == "text/html"
    assert b"<title>report" in body
    assert ask(server, "/")[0].headers["Location"] == "/report/"


def test_bundled_client_is_served(server: FolderServer) -> None:
    redirect, _ = ask(server, "/neuroglancer/")
    home = redirect.headers["Location"]
    page, html = ask(server, home)
    assert page.status == 200
    assert b"<title>neuroglancer" in html
    script = next(path for path in client_folder().iterdir() if path.suffix == ".js")
    response, body = ask(server, home + script.name)
    assert (response.headers["Content-Type"], len(body)) == ("text/javascript", script.stat().st_size)


def test_client_gets_the_event_stream_it_waits_for_and_closing_ends_it(run_folder: Path) -> None:
    with serve(run_folder) as running:
        stream = socket.create_connection(running.server_address[:2], timeout=10)
        stream.sendall(b"GET /neuroglancer/events/run?c=1&gc= HTTP/1.1\r\nHost: x\r\n\r\n")
        head = stream.recv(4096)
        while b"\r\n\r\n:" not in head:
            head += stream.recv(4096)
        assert b"text/event-stream" in head
    while stream.recv(4096):
        pass
    stream.close()


def test_port_in_use(server: FolderServer, run_folder: Path) -> None:
    with pytest.raises(InputError, match="cannot be listened on"):
        serve(run_folder, server.server_address[1])
    with pytest.raises(InputError, match="cannot be listened on"):
        serve(run_folder, 70000)


def interrupt_process(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)


def interrupt_thread(process: subprocess.Popen) -> None:
    """The same to the thread that serves: the system may choose any of a process's threads to take a signal."""
    # The first that was started; requests have threads that come and go.
    thread = min(int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir() if int(task.name) != process.pid)
    assert ctypes.CDLL(None).tgkill(process.pid, thread, signal.SIGINT) == 0


@pytest.mark.parametrize("interrupt", [interrupt_process, interrupt_thread])
def test_view_prints_links_and_ends_on_interrupt(run_folder: Path, interrupt) -> None:
    state = {"layers": [{"name": "isotropic", "source": "{base}/isotropic.ome.zarr/|zarr3:"}]}
    (run_folder / "neuroglancer.json").write_text(json.dumps(state))
    # A shell that starts its jobs in the background has them ignore interrupts; a terminal does not.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from isofield.report.server import view; view(sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run_folder)], stdout=subprocess.PIPE, text=True)
    try:
        report, link, _ = (process.stdout.readline() for _ in range(3))
        host, port = link.split()[1].split("/")[2].split(":")
        assert host == "127.0.0.1"
        assert report.split()[1] == f"http://127.0.0.1:{port}/report/"
        assert f"http://127.0.0.1:{port}/isotropic.ome.zarr/|zarr3:" in link
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("GET", CHUNK_PATH)
        assert connection.getresponse().read() == CHUNK
        connection.close()
        interrupt(process)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_view_of_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no neuroglancer\.json"):
        view(tmp_path)
    (tmp_path / "neuroglancer.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        view(tmp_path)
