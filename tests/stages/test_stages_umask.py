"""Results on shared clusters: every file and folder of a run has the permissions that the umask says, no fewer and no more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tiny_run import TinyRun

from isofield.records import publishing


def odd_modes(root: Path, umask: int) -> dict[str, str]:
    """Files and folders below `root` whose permissions are not those a plain program would have given them."""
    wrong = {}
    for path in [root, *root.rglob("*")]:
        mode, wanted = stat.S_IMODE(path.lstat().st_mode), (0o777 if path.is_dir() else 0o666) & ~umask
        if mode != wanted:
            wrong[str(path.relative_to(root))] = f"{mode:o} instead of {wanted:o}"
    return wrong


@pytest.mark.parametrize("umask", [pytest.param(0o002, marks=pytest.mark.slow, id="002"), pytest.param(0o027, id="027")])
def test_every_file_of_a_run_has_the_mode_that_the_umask_says(umask, tmp_path):
    before = os.umask(umask)
    try:
        run = TinyRun.at(tmp_path / "results").all_stages()
        assert run.stage("preview") == 0
    finally:
        os.umask(before)
    files = [path for path in run.paths.root.rglob("*") if path.is_file()]
    assert {".json", ".parquet", ".safetensors", ".html", ".png"} <= {path.suffix for path in files}
    assert odd_modes(tmp_path / "results", umask) == {}


def test_a_file_that_hides_from_colleagues_is_noticed(tmp_path):
    """Negative control: what tempfile makes is for its owner alone."""
    before = os.umask(0o002)
    try:
        with publishing(tmp_path / "ours") as file:
            file.write(b"")
        os.close(os.open(tmp_path / "hidden", os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert odd_modes(tmp_path, 0o077).keys() == {"ours"} | ({"."} if stat.S_IMODE(tmp_path.stat().st_mode) != 0o700 else set())
    assert "hidden" in odd_modes(tmp_path, 0o002)
