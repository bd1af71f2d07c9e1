"""How fast this machine would do a run, from a few seconds of its work."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from isofield.benchmark.speed import SpeedBenchmark, SpeedSetting
from isofield.benchmark.timing import timed
from isofield.config import Config
from isofield.cost.effort import n_reached, n_rendered
from isofield.geometry import ZYX, Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import write_shard
from isofield.plan import Layout
from isofield.speed import Speed
from isofield.stages.device import choose_device

BLOCK_VOX = 64
CUDA_BATCH = 16
WRITTEN_VOX = 128
CPU = torch.device("cpu")


def measured_speed(config: Config, layout: Layout, on_gpu: bool) -> Speed:
    """Speed of this machine for the settings of `config`: small blocks are timed and scaled to what those of `layout` see.

    Raises InputError if there is no GPU and one is asked for.
    """
    threads = config.run.threads_per_job
    device = choose_device("cuda" if on_gpu else "cpu", threads)
    batch = (config.fit.batch_blocks or CUDA_BATCH) if on_gpu else 1
    setting = SpeedSetting(BLOCK_VOX, max(1, round(layout.axial.ratio)), batch, repeats=1)
    bench = SpeedBenchmark(setting, config, device)
    seconds = bench.seconds()
    # Blend jobs run on processors.
    own = seconds if device == CPU else SpeedBenchmark(SpeedSetting(BLOCK_VOX, setting.ratio, 1, 1), config, CPU).seconds()
    jobs = layout.jobs
    seen_vox, field_vox = bench.block.read_roi.volume, bench.block.field_roi.volume
    fit_s = seconds["fit"] / seen_vox * n_reached(jobs, jobs.grid.context) / n_reached(jobs, (0, 0, 0))
    rendered = n_rendered(jobs) / (jobs.region or jobs.grid.bounds).volume
    blend_s = own["render"] / field_vox * rendered + own["blend"] / BLOCK_VOX**3 + _write_s(config)
    basis = f"measured on this machine with {threads} threads"
    return Speed(1 / fit_s, 1 / blend_s, seconds["training step"], str(device), basis)


def _write_s(config: Config) -> float:
    """Seconds per voxel that compressing and publishing a shard takes here: of noise, which takes longest."""
    noise = np.random.default_rng(0).integers(0, 256, (WRITTEN_VOX,) * 3, np.uint8)
    spec = OutputSpec(chunk_vox=64, shard_vox=WRITTEN_VOX, compression_level=config.output.compression_level)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        create_canvas(image, noise.shape, "uint8", spec, voxel_size_nm=(1, 1, 1), n_levels=1)
        whole = Roi(ZYX(0, 0, 0), ZYX(*noise.shape))
        return timed(lambda: write_shard(image, 0, whole, noise), CPU, 1) / noise.size
