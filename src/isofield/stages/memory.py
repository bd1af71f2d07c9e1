"""Peak memory that jobs promise; tests measure that they keep it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from isofield.field.fit import SLICES_PER_CALL
from isofield.field.representation import n_parameters
from isofield.field.spec import FieldSpec

INTERPRETER_BYTES = 900 * 2**20
"""Python with torch, zarr and dask imported, and what their allocators keep."""
RENDERED_BLOCKS = 8
"""Rendered blocks that a blend job keeps for the next shard."""
DENOISER_CHANNELS = 256
"""Feature maps at full slice size that a denoiser call holds at once, generously."""


def fit_job_bytes(read_shape: Sequence[int], batch: int, spec: FieldSpec, ratio: Fraction, slice_share: float = 0.125) -> int:
    """Peak resident bytes of a fit job: volumes, fields with gradients and moments, one step's graph, one denoiser call."""
    vox = prod(read_shape)
    volumes = 4 * 6 * vox + int(4 * 3 * vox / ratio)
    parameters = 4 * 5 * n_parameters(spec, read_shape)
    width = sum(spec.features) if spec.kind == "grid" else 2 * spec.n_frequencies
    graph = int(4 * (4 * width + 3 * spec.hidden * spec.n_hidden_layers + 8) * vox * slice_share)
    denoiser = SLICES_PER_CALL * read_shape[0] * max(read_shape[1:]) * 4 * DENOISER_CHANNELS // 4
    return INTERPRETER_BYTES + batch * (volumes + parameters + graph) + denoiser


def blend_job_bytes(read_shape: Sequence[int], shard_vox: int, shape: Sequence[int], itemsize: int) -> int:
    """Peak resident bytes of a blend job: accumulators of one shard, rendered blocks, one block being rendered."""
    shard = prod(min(shard_vox, side) for side in shape)
    vox = prod(read_shape)
    return INTERPRETER_BYTES + shard * (4 * 6 + 3 * itemsize) + vox * 4 * (RENDERED_BLOCKS + 12)
