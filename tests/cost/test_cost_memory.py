"""The pyramid's promised memory, measured on a shard of default size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isofield.cost.memory import pyramid_job_bytes
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import shard_rois, write_shard

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
