"""Nothing outside of the folder is served, nothing is written, and nobody else can reach it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import CHUNK, CHUNK_PATH, SECRET, ask

from isofield.errors import InputError
from isofield.report.handler import file_within
from isofield.report.server import FolderServer, serve


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/report/../../secret.txt",
        "/report/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "//../secret.txt",
        "/../run-other/secret.txt",
        "/report%00/../../secret.txt",
        "/neuroglancer/v/run/../../../secret.txt",
        "/neuroglancer/v/run/%2e%2e/%2e%2e/__init__.py",
        "{absolute}",
        "/{absolute}",
    ],
)
def test_traversal_finds_nothing(server: FolderServer, run_folder: Path, path: str) -> None:
    response, body = ask(server, path.format(absolute=run_folder.parent / "secret.txt"))
    assert response.status == 404
    assert SECRET not in body


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/link-out", "a link to a file outside"),
        ("/folder-out/secret.txt", "a file below a link to a folder outside"),
        ("/link-up/secret.txt", "a file below a relative link to the folder above"),
        ("/link-loop", "a link that never ends"),
        ("/pipe", "not a regular file: reading it would block for ever"),
    ],
)
def test_what_is_not_a_file_of_the_folder_is_not_served(server: FolderServer, path: str, reason: str) -> None:
    response, body = ask(server, path)
    assert response.status in (403, 404), reason
    assert SECRET not in body, reason


def test_the_secret_is_served_once_it_lies_inside(run_folder: Path) -> None:
    """The control of the two tests above: the same file, the same request, another root."""
    with serve(run_folder.parent) as wider:
        assert ask(wider, "/secret.txt")[1] == SECRET
        assert ask(wider, "/run/link-out")[1] == SECRET


def test_a_link_that_stays_inside_is_followed(server: FolderServer) -> None:
    assert ask(server, "/link-inside")[1] == CHUNK


@given(st.lists(st.sampled_from(["..", ".", "run", "%2e%2e", "link-out", "folder-out", "secret.txt", "report", "", "\\.."])))
def test_no_path_leads_outside(run_folder: Path, parts: list[str]) -> None:
    found = file_within(run_folder, "/".join(parts))
    assert found is None or found.is_relative_to(run_folder.resolve())


@pytest.mark.parametrize("path", ["//report", "///report", "//evil.example/%2e%2e", "/%2freport"])
def test_no_redirect_leaves_the_server(server: FolderServer, path: str) -> None:
    location = ask(server, path)[0].headers.get("Location", "/")
    assert location.startswith("/")
    assert not location.startswith("//")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(server: FolderServer, method: str) -> None:
    assert ask(server, CHUNK_PATH, method)[0].status == 501


def test_refuses_what_others_could_reach(run_folder: Path) -> None:
    with pytest.raises(InputError, match=r"ssh -L"):
        serve(run_folder, host="0.0.0.0")
    with pytest.raises(InputError, match="is not a folder"):
        serve(run_folder / "nowhere")
