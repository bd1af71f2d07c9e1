"""Promised memory: the pyramid's, measured on a shard of default size, and what is kept of reads over the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cost_example import configured, laid_out

from isofield.config import Config
from isofield.cost.memory import pyramid_job_bytes
from isofield.cost.rules import asked_for
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import shard_rois, write_shard
from isofield.storage.place import KEPT_BYTES

CHILD = """
import sys
from isofield.geometry import Roi
from isofield.omezarr.pyramid import downsample_shard
downsample_shard(sys.argv[1], 1, Roi((0, 0, 0), (256, 256, 256)))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", int(peak.split()[1]) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_shard_of_the_pyramid_keeps_its_promise(tmp_path, dtype):
    shape, image = (512, 512, 512), tmp_path / "image"
    create_canvas(image, shape, dtype, OutputSpec(), voxel_size_nm=(4, 4, 4))
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 256)).astype(dtype)
    for roi in shard_rois(shape, 256):
        write_shard(image, 0, roi, noise)
    done = subprocess.run([sys.executable, "-c", CHILD, str(image)], capture_output=True, text=True, check=True, timeout=300)
    peak, promised = int(done.stdout.split("peak ")[1]), pyramid_job_bytes(256, shape, np.dtype(dtype).itemsize)
    print(f"{dtype}: peak {peak / 1e6:.0f} MB of {promised / 1e6:.0f} MB")
    assert 0.3 * promised < peak <= promised


def asked_bytes(config: Config) -> dict[str, int]:
    return {rule: cost.bytes for rule, cost in asked_for(config, laid_out(config, (40, 600, 600)), "uint8").items()}


def test_jobs_ask_for_what_they_keep_of_reads_over_the_network(monkeypatch):
    monkeypatch.setenv("BUCKET", "s3://bucket")
    near = asked_bytes(configured())
    source = asked_bytes(configured(source={"path": "$BUCKET/sections.zarr"}))
    image = asked_bytes(configured(output={"path": "${BUCKET}/image.ome.zarr"}))
    both = asked_bytes(configured(source={"path": "s3://a/b"}, output={"path": "gs://a/c.ome.zarr"}))
    reads = {"plan", "train", "fit", "blend", "measure", "report", "verify"}
    assert {rule for rule in near if source[rule] != near[rule]} == reads
    assert {rule for rule in near if image[rule] != near[rule]} == {"finish", "measure", "report"}
    assert all(source[rule] == near[rule] + KEPT_BYTES for rule in reads)
    assert {rule: both[rule] - near[rule] for rule in ("canvas", "fit", "finish", "report")} == {
        "canvas": 0,
        "fit": KEPT_BYTES,
        "finish": KEPT_BYTES,
        "report": 2 * KEPT_BYTES,
    }
