"""Writers killed at every file operation and at any time leave what is whole or missing; a rerun mends it.

Children are forked from one fresh interpreter that has imported zarr but started none of its threads.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.reading import read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import level_shape, missing_shards, shard_path, shard_rois, write_shard
from isofield.records import sweep_partials

SPEC = OutputSpec(chunk_vox=16, shard_vox=32, pyramid_min_vox=32)
SHAPE = (40, 64, 100)
ROIS = shard_rois(SHAPE, 32)

COMMON = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.store import shard_path, shard_rois, write_shard

root, mode, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
spec = OutputSpec(chunk_vox=16, shard_vox=32, pyramid_min_vox=32)
shape = (40, 64, 100)
truth = np.random.default_rng(0).integers(0, 4000, shape).astype("uint16")

def create(path):
    create_canvas(path, shape, "uint16", spec, voxel_size_nm=(4, 4, 4))

def child(work):
    if (pid := os.fork()) == 0:
        work()
        os._exit(0)
    return pid
"""

KILL_AT_ANY_TIME = (
    COMMON
    + """
def atomic():
    for roi in shard_rois(shape, 32) * 1000:
        write_shard(root, 0, roi, truth[roi.slices])
        os.write(ready_in, b"!")

def in_place():
    # What a writer without a rename does: bytes appear under the final name, some now and some later.
    for file in [shard_path(root, 0, roi) for roi in shard_rois(shape, 32)] * 1000:
        data = file.read_bytes()
        with open(file, "wb", buffering=0) as handle:
            for begin in range(0, len(data), 4096):
                handle.write(data[begin:begin + 4096])
                time.sleep(0.001)
        os.write(ready_in, b"!")

random.seed(seed)
n_killed = 0
for _ in range(10):
    ready_out, ready_in = os.pipe()
    pid = child({"atomic": atomic, "in_place": in_place}[mode])
    os.read(ready_out, 1)  # at least one shard is whole
    time.sleep(random.uniform(0, 0.1))
    os.kill(pid, signal.SIGKILL)
    n_killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
print(n_killed)
"""
)

KILL_AT_EVERY_FILE_OPERATION = (
    COMMON
    + """
def killer(n):
    def hook(event, args):
        nonlocal n
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            if not str(args[0]).startswith(str(root)):
                return
            n -= 1
            if n < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for n in range(200):
    path = root / str(n) / "a.ome.zarr"
    if mode == "replace":
        create_canvas(path, (40, 64, 99), "uint8", spec, voxel_size_nm=(4, 4, 4), n_levels=1)
    def work():
        killer(n)
        create(path)
    if os.waitpid(child(work), 0)[1] == 0:
        break
print(n)
"""
)


def run(script: str, *args: object) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, args)]
    return int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=120, check=True).stdout)


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).integers(0, 4000, SHAPE).astype("uint16")


def full_canvas(path: Path, truth) -> Path:
    create_canvas(path, SHAPE, "uint16", SPEC, voxel_size_nm=(4, 4, 4))
    for roi in ROIS:
        write_shard(path, 0, roi, truth[roi.slices])
    return path


def damaged_shards(path: Path, truth) -> int:
    n_damaged = 0
    for roi in ROIS:
        if roi in missing_shards(path, 0):
            continue
        try:
            np.testing.assert_array_equal(read_region(path, 0, roi), truth[roi.slices])
        except InputError:
            n_damaged += 1
    return n_damaged


def test_shards_of_a_killed_writer_are_whole_or_missing_and_a_rerun_gives_equal_bytes(tmp_path, truth):
    seed = random.SystemRandom().randrange(2**32)
    path = tmp_path / "a.ome.zarr"
    create_canvas(path, SHAPE, "uint16", SPEC, voxel_size_nm=(4, 4, 4))
    assert run(KILL_AT_ANY_TIME, path, "atomic", seed) == 10
    assert len(missing_shards(path, 0)) < len(ROIS), "no writer got as far as a shard"
    assert damaged_shards(path, truth) == 0, f"seed {seed}"
    clean = full_canvas(tmp_path / "clean.ome.zarr", truth)
    full_canvas(path, truth)
    sweep_partials(path, min_age_s=0)
    files = sorted(f.relative_to(clean) for f in clean.rglob("*") if f.is_file())
    assert sorted(f.relative_to(path) for f in path.rglob("*") if f.is_file()) == files
    assert all((path / f).read_bytes() == (clean / f).read_bytes() for f in files)


def test_a_writer_without_a_rename_leaves_damage_that_writing_again_heals(tmp_path, truth):
    """Negative control of the kills, and a severe case of healing."""
    path = full_canvas(tmp_path / "a.ome.zarr", truth)
    clean = {roi: shard_path(path, 0, roi).read_bytes() for roi in ROIS}
    assert run(KILL_AT_ANY_TIME, path, "in_place", 0) == 10
    assert damaged_shards(path, truth) > 0
    full_canvas(path, truth)
    assert {roi: shard_path(path, 0, roi).read_bytes() for roi in ROIS} == clean


@pytest.mark.parametrize("mode", ["fresh", "replace"])
def test_a_canvas_whose_creator_is_killed_is_whole_or_not_there(tmp_path, truth, mode):
    n_operations = run(KILL_AT_EVERY_FILE_OPERATION, tmp_path, mode, 0)
    assert n_operations > 10
    expected = tmp_path / str(n_operations) / "a.ome.zarr"
    wanted = {f.relative_to(expected): json.loads(f.read_text()) for f in expected.rglob("zarr.json")}
    assert level_shape(expected, 0) == SHAPE
    seen = set()
    for n in range(n_operations):
        path = tmp_path / str(n) / "a.ome.zarr"
        if not path.exists():
            seen.add("not there")
        elif level_shape(path, 0) == SHAPE:
            seen.add("new")
            assert {f.relative_to(path): json.loads(f.read_text()) for f in path.rglob("zarr.json")} == wanted
        else:
            seen.add("old")
            assert level_shape(path, 0) == (40, 64, 99)
        create_canvas(path, SHAPE, "uint16", SPEC, voxel_size_nm=(4, 4, 4))
        assert {f.relative_to(path): json.loads(f.read_text()) for f in path.rglob("zarr.json")} == wanted
        write_shard(path, 0, Roi((0, 0, 0), (32, 32, 32)), truth[:32, :32, :32])
        sweep_partials(path.parent, min_age_s=0)
        assert os.listdir(path.parent) == [path.name]
    assert seen == ({"not there", "new"} if mode == "fresh" else {"old", "not there", "new"})
