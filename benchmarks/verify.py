"""How fast an image is read back and checked: `python benchmarks/verify.py [--side 512] [--shard 256] [--threads 1,2]`.

Writes an image of smoothed noise, which zstd makes as small as electron microscopy of 8 bits, and its coarser levels into a
folder that is removed afterwards; then times what `isofield verify` does with them, with the files in the page cache.
MB are of voxels of all levels. Time on the processor is given beside the time that passed: a machine that does something else
as well shows the latter.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import ndimage

from isofield.blocks import BlockGrid, BlocksSpec
from isofield.geometry import ZYX
from isofield.omezarr.canvas import canvas_files, create_canvas
from isofield.omezarr.pyramid import downsample_shard, level_shards
from isofield.omezarr.readback import Level
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import write_shard
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.storage.place import place_of
from isofield.verify.expected import Vouched
from isofield.verify.image import ImageCheck, Looked


def plan_of(side: int, shard_vox: int) -> Plan:
    """A plan of one job of each kind over a cube."""
    grid = BlockGrid.even(ZYX(side, side, side), BlocksSpec())
    return Plan(
        made_from="benchmark",
        run_name="benchmark",
        source={},
        ratio="8",
        operator="section",
        fwhm_vox=None,
        roi=((0, 0, 0), (side // 8, side, side)),
        voxel_size_nm=8.0,
        origin_nm=(0, 0, 0),
        shape=(side,) * 3,
        dtype="uint8",
        intensity={"low": 0.0, "high": 255.0},
        grid={name: tuple(getattr(grid, name)) for name in ("core", "context", "margin")},  # type: ignore[misc]
        overlap_vox=8,
        n_blocks=len(grid),
        n_empty_blocks=0,
        n_fit_jobs=1,
        n_blend_jobs=1,
        n_shards=(-(-side // shard_vox)) ** 3,
        shard_vox=shard_vox,
        has_truth=False,
        projected={},
        fingerprints={"volume": "", "geometry": ""},
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--shard", type=int, default=256)
    options.add_argument("--threads", default="1,2")
    args = options.parse_args()
    plan, spec, where = plan_of(args.side, args.shard), OutputSpec(shard_vox=args.shard), {"voxel_size_nm": (8, 8, 8)}
    noise = np.random.default_rng(0).normal(size=(args.shard,) * 3).astype(np.float32)
    values = np.clip(128 + 90 * ndimage.gaussian_filter(noise, 0.7), 0, 255).astype(np.uint8)
    with TemporaryDirectory() as folder:
        image = Path(folder) / "image.ome.zarr"
        create_canvas(image, plan.shape, "uint8", spec, **where)
        place, files, vouched = place_of(image, "output.path"), canvas_files(plan.shape, "uint8", spec, **where), Vouched(plan)
        levels = [Level(place, number, files) for number in range(len(files) - 1)]
        for number, level in enumerate(levels):
            for roi in level_shards(level.shape, plan.block_grid.bounds, number, args.shard):
                if number:
                    downsample_shard(image, number, roi)
                    continue
                written = write_shard(image, 0, roi, values[tuple(slice(side) for side in roi.shape)])
                vouched.put(roi, {"sha256": written.sha256, "bytes": written.n_bytes})
        paths = RunPaths(Path(folder) / "run", str(image))
        for n_threads in map(int, args.threads.split(",")):
            total, begun, on_cpu = Looked(), time.perf_counter(), time.process_time()
            for looked in ImageCheck(plan, paths, levels, vouched, lambda *names: True).run(n_threads):
                total.add(looked)
            passed, worked = time.perf_counter() - begun, time.process_time() - on_cpu
            assert not total.findings, total.findings
            n_mb, stored = total.n_vox / 1e6, total.n_bytes / 1e6
            print(f"{n_threads} threads: {total.n_decoded} shards, {n_mb:.0f} MB of voxels, {stored:.0f} MB stored:", end=" ")
            print(f"{passed:.1f} s, {n_mb / passed:.0f} MB/s; {worked:.1f} s of processor, {n_mb / worked:.0f} MB per s of it")


if __name__ == "__main__":
    main()
