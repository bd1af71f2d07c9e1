from __future__ import annotations

import os
from pathlib import Path

import browser
import pytest
from report_example import example, volumes
from serving import CHUNK, SECRET

from isofield.report.content import ReportContent
from isofield.report.server import serve


@pytest.fixture(scope="session")
def content() -> ReportContent:
    """A report about a small phantom, with truth."""
    return example(volumes((32, 48, 64)))


@pytest.fixture(scope="session")
def chromium() -> type[browser.Browser]:
    """The browser to drive; tests that ask for it are skipped, with the reason, where there is none."""
    reason = browser.missing()
    if reason:
        pytest.skip(reason)
    return browser.Browser


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    above = tmp_path_factory.mktemp("above")
    run = above / "run"
    (run / "isotropic.ome.zarr" / "c").mkdir(parents=True)
    (run / "isotropic.ome.zarr" / "c" / "0").write_bytes(CHUNK)
    (run / "isotropic.ome.zarr" / "zarr.json").write_text("{}")
    (run / "empty").touch()
    (run / "report").mkdir()
    (run / "report" / "index.html").write_text("<!doctype html><title>report</title>")
    (above / "secret.txt").write_bytes(SECRET)
    (above / "run-other").mkdir()
    (above / "run-other" / "secret.txt").write_bytes(SECRET)
    (run / "link-out").symlink_to(above / "secret.txt")
    (run / "folder-out").symlink_to(above)
    (run / "link-up").symlink_to("..")
    (run / "link-loop").symlink_to("link-loop")
    (run / "link-inside").symlink_to(run / "isotropic.ome.zarr" / "c" / "0")
    os.mkfifo(run / "pipe")
    return run


@pytest.fixture(scope="module")
def server(run_folder: Path):
    with serve(run_folder) as running:
        yield running
