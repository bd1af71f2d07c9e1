"""Peak memory that jobs promise; tests measure that they keep it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from isofield.blocks import BlockGrid
from isofield.config import Sections
from isofield.cost.effort import n_restored
from isofield.field.spec import SLICES_PER_CALL, FieldSpec
from isofield.geometry import ZYX
from isofield.paths import expand
from isofield.prior.spec import PART_SECTIONS, PART_VOX, PriorSpec
from isofield.storage.place import KEPT_BYTES
from isofield.storage.uri import is_remote

INTERPRETER_BYTES = 900 * 2**20
"""Python with torch, zarr and dask imported, and what their allocators keep."""
LIGHT_INTERPRETER_BYTES = 200 * 2**20
"""Python with zarr imported and without torch."""
SOURCE_READERS = ("plan", "train", "fit", "blend", "measure", "report", "verify")
IMAGE_READERS = ("finish", "measure", "report")
"""Rules whose jobs read sections, and those that read the finished image, many times over."""
RENDERED_BLOCKS = 8
"""Rendered blocks that a blend job keeps for the next shard."""
DENOISER_CHANNELS = 256
"""Feature maps at full slice size that a denoiser call holds at once, generously."""
PLANNED_BLOCK_BYTES, MEASURED_BLOCK_BYTES, VERIFIED_BLOCK_BYTES, RECORD_BYTES = 400, 2048, 200, 8192
"""What is held of a block while the plan, and the metrics, are made, the run is read back, and while its record is read."""
RESTORED_BYTES_PER_VOX = 56
"""What a part of the volume takes while the first network restores it for a second round, measured."""
CUDA_MEMORY_BYTES, CUDA_BYTES_PER_VOX = 80e9, 160
"""Memory of a large GPU, and what a voxel seen takes of it: how many blocks are fitted together there."""


def largest_shape(grid: BlockGrid, margin: Sequence[int]) -> ZYX:
    """Shape of the grid's largest block, grown by `margin`."""
    return ZYX(*(min(c + 2 * m, n) for c, m, n in zip(grid.core, margin, grid.shape, strict=True)))


def kept_reads_bytes(rule: str, config: Sections) -> int:
    """What a job of `rule` keeps at most of what came over the network, where the source or the image lies in an object store."""
    source, image = config.source.path, config.output.path
    far_source = rule in SOURCE_READERS and is_remote(expand(source))
    far_image = rule in IMAGE_READERS and image is not None and is_remote(expand(image, "output.path"))
    return (far_source + far_image) * KEPT_BYTES


def fit_job_bytes(read_shape: Sequence[int], batch: int, spec: FieldSpec, ratio: Fraction, slice_share: float = 0.125) -> int:
    """Peak resident bytes of a fit job: volumes, fields with gradients and moments, one step's graph, one denoiser call."""
    vox = prod(read_shape)
    volumes = 4 * 6 * vox + int(4 * 3 * vox / ratio)
    parameters = 4 * 5 * sum(spec.n_numbers(read_shape))
    width = sum(spec.features) if spec.kind == "grid" else 2 * spec.n_frequencies  # type: ignore[arg-type]
    graph = int(4 * (4 * width + 3 * spec.hidden * spec.n_hidden_layers + 8) * vox * slice_share)
    denoiser = SLICES_PER_CALL * read_shape[0] * max(read_shape[1:]) * 4 * DENOISER_CHANNELS // 4
    return INTERPRETER_BYTES + batch * (volumes + parameters + graph) + denoiser


def cuda_fit_job_bytes(read_shape: Sequence[int], batch: int | None) -> int:
    """Peak resident bytes of a fit job whose fields are on a GPU: what the blocks of a batch are made of and stacked into."""
    vox = prod(read_shape)
    batch = batch or max(1, int(0.7 * CUDA_MEMORY_BYTES / (vox * CUDA_BYTES_PER_VOX)))
    return 3 * INTERPRETER_BYTES + 4 * 4 * vox * (batch + 1)


def blend_job_bytes(read_shape: Sequence[int], shard_vox: int, shape: Sequence[int], itemsize: int) -> int:
    """Peak resident bytes of a blend job: accumulators of one shard, rendered blocks, one block being rendered."""
    shard = prod(min(shard_vox, side) for side in shape)
    vox = prod(read_shape)
    return INTERPRETER_BYTES + shard * (4 * 6 + 3 * itemsize) + vox * 4 * (RENDERED_BLOCKS + 12)


def pyramid_job_bytes(shard_vox: int, shape: Sequence[int], itemsize: int) -> int:
    """Peak resident bytes of the pyramid: one shard being encoded, a slab of the level above it as numbers of 8 bytes."""
    coarse = [min(shard_vox, -(-side // 2)) for side in shape]
    slab = min(64, 2 * coarse[0]) * 4 * coarse[1] * coarse[2]
    return LIGHT_INTERPRETER_BYTES + prod(coarse) * 6 * itemsize + slab * (8 + 3 * itemsize)


def measure_job_bytes(write_shape: Sequence[int], n_measured: int, has_truth: bool, n_threads: int) -> int:
    """Peak resident bytes of the metrics: per thread one block and its surroundings, several times over, and a row per
    block that is measured."""
    vox = prod(side + 16 for side in write_shape)
    return INTERPRETER_BYTES + n_threads * vox * (160 if has_truth else 48) + n_measured * MEASURED_BLOCK_BYTES


def report_job_bytes(measure_bytes: int, shard_vox: int, shape: Sequence[int], itemsize: int) -> int:
    """Peak resident bytes of the report: what the metrics take of a block, and one shard of measured sections or of a map, twice
    over and encoded, with a slab of what it is made from."""
    return measure_bytes + 3 * max(itemsize, 2) * prod(min(shard_vox, side) for side in shape) + 24 * 2**22


def plan_job_bytes(n_sample_vox: int, n_blocks: int, itemsize: int) -> int:
    """Peak resident bytes of the plan: sampled voxels twice and as percentiles are taken of them, a row per block."""
    return LIGHT_INTERPRETER_BYTES + n_sample_vox * (2 * itemsize + 16) + n_blocks * PLANNED_BLOCK_BYTES


def verify_job_bytes(shard_vox: int, chunk_vox: int, shape: Sequence[int], itemsize: int, n_threads: int, n_blocks: int) -> int:
    """Peak resident bytes of reading a run back: per thread two shards as stored and what is decoded of one, and what the records
    say of each block and shard. With shards of odd sides, eight at once."""
    shard, n_stored = [min(shard_vox, side) for side in shape], 2 + 7 * (shard_vox % 2)
    slab = min(2 * chunk_vox, shard[0]) * shard[1] * shard[2] * (1 + 3 * (shard_vox % 2))
    per_thread = n_stored * prod(shard) * itemsize + slab * (3 * itemsize + 16)
    return LIGHT_INTERPRETER_BYTES + n_threads * per_thread + n_blocks * VERIFIED_BLOCK_BYTES


def tidy_job_bytes(n_blocks: int) -> int:
    """Peak resident bytes of tidying up, one pack of `n_blocks` records after the other."""
    return LIGHT_INTERPRETER_BYTES + n_blocks * RECORD_BYTES


def train_job_bytes(spec: PriorSpec, measured_vox: int, itemsize: int, ratio: Fraction) -> int:
    """Peak resident bytes of the training: crops as stored and as they are learned from, a step's graph, what was restored."""
    pool = min(spec.pool_bytes // 4, measured_vox)
    levels = sum(channels / 4**level for level, channels in enumerate(spec.channels))
    graph = 4 * spec.batch * spec.patch_vox**2 * (30 * spec.n_residual_blocks * levels / 4 + 64)
    restored = n_restored(spec, measured_vox, ratio)
    part = min(PART_SECTIONS * PART_VOX**2 * ratio, restored)
    return INTERPRETER_BYTES + pool * (itemsize + 3 * 4) + int(graph + RESTORED_BYTES_PER_VOX * part + 4 * restored)
