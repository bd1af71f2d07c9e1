"""Bytes and files that a run leaves on disk."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from isofield.bundling import PORTION_BLOCKS
from isofield.config import Config, Sections
from isofield.cost.memory import largest_shape
from isofield.field.spec import FieldSpec
from isofield.geometry import ZYX
from isofield.jobs import shards_in
from isofield.omezarr.metadata import level_shapes
from isofield.plan import Layout

SINGLE_JOBS = 8
"""Jobs beside fit, blend and pyramid: plan, train, canvas, finish, measure, report, verify, tidy."""
FILES_PER_SHARD, FILES_PER_JOB, FILES_PER_RUN = 2, 10, 80
"""At most: a shard and its labels (in OME-Zarr 0.4 also their chunks, each a file); of a job its outputs, log, timing and what
Snakemake notes of each; metadata and the rest."""
FIELD_HEADER_BYTES = 4096
"""What a field's file, and its record, say beside its numbers."""
STORED_SHARE = {"u1": 0.95, "i1": 0.95, "u2": 0.65, "i2": 0.65, "f4": 0.9, "f8": 0.9}
"""Size after zstd, as a share of the voxels' own, by dtype: 0.95 was measured of electron microscopy of 8 bits (CREMI), 0.45 to
0.73 of fluorescence in 16. Empty regions take next to nothing."""


def field_bytes(spec: FieldSpec, shape: Sequence[int]) -> int:
    """Size of one field on disk: a byte per number of its grids, four of every other, and a scale per feature."""
    nodes, others = spec.n_numbers(shape)
    return nodes + 4 * (others + sum(spec.features or ())) + FIELD_HEADER_BYTES


def fields_bytes(config: Config | Sections, layout: Layout) -> int:
    """Size of all fields of a run, before tidy removes them."""
    spec = config.field.decided(config.fit.detail, layout.axial.ratio)
    shape = largest_shape(layout.grid, layout.grid.margin or layout.grid.context)
    return field_bytes(spec, shape) * len(layout.jobs.blocks)


def made_shape(layout: Layout) -> ZYX:
    """Shape of the part of the output that the run makes."""
    return (layout.jobs.region or layout.grid.bounds).shape


def image_bytes(shapes: Sequence[Sequence[int]], itemsize: int) -> int:
    """Size of all levels of an image, not compressed."""
    return sum(prod(shape) for shape in shapes) * itemsize


def n_image_shards(config: Config | Sections, layout: Layout) -> int:
    """Shards of all levels of the result, and of the measured image beside it, at most."""
    output = config.output
    made = made_shape(layout)
    shapes = [*level_shapes(made, output.pyramid_min_vox), (ceil(made.z / layout.axial.ratio) + 1, made.y, made.x)]
    return sum(len(shards_in(ZYX(*shape), output.shard_vox, None)) for shape in shapes)


def n_chunk_files(config: Config | Sections, layout: Layout) -> int:
    """Chunks of all levels of the result, and of its labels, where each is a file, in OME-Zarr 0.4; 0 where shards are."""
    output = config.output
    if output.ome_zarr == "0.5":
        return 0
    shapes = level_shapes(made_shape(layout), output.pyramid_min_vox)
    return 2 * sum(prod(ceil(side / output.chunk_vox) for side in shape) for shape in shapes)


def n_files(config: Config | Sections, layout: Layout) -> int:
    """Files of a finished run, at most."""
    n_jobs = layout.n_fit_jobs + layout.n_blend_jobs + len(layout.jobs.pyramid) + SINGLE_JOBS
    in_image = FILES_PER_SHARD * n_image_shards(config, layout) + n_chunk_files(config, layout)
    return in_image + FILES_PER_JOB * n_jobs + FILES_PER_RUN


def n_files_running(config: Config | Sections, layout: Layout, n_parallel: int) -> int:
    """Files while `n_parallel` fit jobs are under way, at most: a portion of each job's fields and records lies loose."""
    per_job = ceil(len(layout.jobs.blocks) / layout.n_fit_jobs)
    n_portions = ceil(per_job / PORTION_BLOCKS)
    return n_files(config, layout) + n_parallel * (2 * min(per_job, PORTION_BLOCKS) + n_portions)
