"""Two runs come to the end of neighbouring parts of one image at the same time: what both make is made of both."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from region_run import LEFT, RIGHT, files, part, through

from isofield.omezarr.canvas import image_attributes
from isofield.omezarr.reading import read_region
from isofield.omezarr.regions import claims, lay_claim
from isofield.omezarr.store import shard_rois, write_shard
from isofield.records import read_json
from isofield.stages import SECTIONS_READ

MADE = ("plan", "train", "canvas", "fit", "blend", "pyramid")
HELD_UP = """
import sys, time
from pathlib import Path
from isofield.cli import main
from isofield.omezarr import pyramid
from isofield.stages import imaging

folder, publish = Path(sys.argv[1]), pyramid.write_shard

def held_up(path, level, roi, block):
    if "labels" not in str(path) and not (folder / "read").exists():
        (folder / "read").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
    return publish(path, level, roi, block)

pyramid.write_shard = held_up
if sys.argv[2] == "once":
    imaging.until_settled = lambda look, make: make()
sys.exit(main(sys.argv[3:]))
"""
"""`isofield`, held up once: right before it publishes the first coarser shard, when it has read all that lies under it."""


@pytest.fixture(scope="module")
def both(finished, tmp_path_factory):
    """Two parts of which each run has made its own."""
    folder = tmp_path_factory.mktemp("both")
    return tuple(through(part(folder, *one, finished.paths.prior), *MADE) for one in (("left", LEFT), ("right", RIGHT)))


def finished_at_once(left, right, folder, how: str) -> dict[str, bytes]:
    """The image, when the left run comes to its end holding what the right one had made before and makes anew meanwhile."""
    (shard, *_) = shard_rois(right.plan.shape, 32, right.plan.jobs.region)
    write_shard(right.paths.isotropic, 0, shard, 255 - read_region(right.paths.isotropic, 0, shard))
    arguments = ("finish", left.config.section_json(*SECTIONS_READ["finish"]))
    child = subprocess.Popen([sys.executable, "-c", HELD_UP, str(folder), how, *arguments])
    begun = time.monotonic()
    while not (folder / "read").exists():
        assert child.poll() is None
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    through(right, "blend", "finish")
    (folder / "go").touch()
    assert child.wait(120) == 0
    return files(right.paths.isotropic.parent)


def test_a_run_that_was_held_up_leaves_nothing_of_what_is_no_more(both, whole, tmp_path):
    alone = files(whole.paths.root.parent)
    folders = [tmp_path / how for how in ("once", "until settled")]
    for folder in folders:
        folder.mkdir()
    # Negative control: with no second look the common part is made of what the right run has replaced.
    stale = finished_at_once(*both, folders[0], "once")
    assert {name for name in alone if stale[name] != alone[name]} == {"1/c/0/0/0", "2/c/0/0/0"}
    assert finished_at_once(*both, folders[1], "until settled") == alone
    windows = [image_attributes(run.paths.isotropic)["ome"]["omero"]["channels"] for run in (both[0], whole)]
    assert windows[0] == windows[1]


def test_who_is_done_first_does_not_blame_what_the_other_is_about_to_make(both):
    left, right = both
    through(left, "finish")
    through(right, "finish")
    image = left.paths.isotropic
    (theirs,) = (claim for claim in claims(image) if claim.owner.endswith("right"))
    assert theirs.finished
    # The right one is at it, again, and a disk has lost what both make.
    lay_claim(image, theirs.model_copy(update={"finished": False}))
    for name in ("1/c/0/0/0", "2/c/0/0/0"):
        (image / name).unlink()
    assert left.stage("verify") == 0
    assert read_json(left.paths.verification)["checked"]["n_waiting"] == 2
    # Negative control: once all say that they are done, nobody is going to make it.
    lay_claim(image, theirs)
    assert left.stage("verify") == 1
    (one,) = read_json(left.paths.verification)["findings"]
    assert (one["level"], one["what"]) == (1, "is missing, or an empty file")
    through(right, "finish")
    assert [run.stage("verify") for run in both] == [0, 0]


def test_a_claim_that_cannot_be_read_is_found(both):
    left, right = both
    through(left, "finish")
    through(right, "finish")
    (path,) = (p for p in (left.paths.isotropic / "regions").iterdir() if "32-64.json" in p.name)
    before = path.read_bytes()
    path.write_bytes(before[:-9])
    assert left.stage("verify") == 1
    (one,) = read_json(left.paths.verification)["findings"]
    assert "the claim is damaged. Delete it" in one["what"]
    path.write_bytes(before)
    assert left.stage("verify") == 0
