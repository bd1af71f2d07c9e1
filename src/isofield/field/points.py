"""Fields between voxel centres: on the points of any rectilinear lattice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isofield.field.representation import CoordinateFields, Fields, GridFields

POINTS_PER_CALL = 2**18
"""Points evaluated together: some 40 MB of features and hidden values."""


@torch.no_grad()
def values_at(fields: Fields, points: Sequence[Tensor]) -> Tensor:
    """What fields add to the base (of kind grid), or are, on a lattice: (N, Z, Y, X).

    points: positions along z, y, x, float64, in voxels from the block's first edge; the centre of voxel i is i + 0.5. At the
    centres the values are those of `Fields.slices` but for rounding; beyond the outermost nodes they are held constant.
    """
    z, y, x = points
    n_planes = max(1, POINTS_PER_CALL // max(1, len(y) * len(x)))
    evaluate = _grid_values if isinstance(fields, GridFields) else _coordinate_values
    return torch.cat([evaluate(fields, (part, y, x)) for part in z.split(n_planes)], dim=1)  # type: ignore[arg-type]


def _grid_values(fields: GridFields, points: Sequence[Tensor]) -> Tensor:
    features = []
    for grid, strides in zip(fields.grids, fields.strides, strict=True):
        mixed = grid
        for axis, (at, stride) in enumerate(zip(points, strides, strict=True), start=2):
            # Nodes are voxel centres at stride 1, edges otherwise.
            node = (at - 0.5 if stride == 1 else at / stride).clamp(0, grid.shape[axis] - 1)
            lower = node.floor()
            weight = (node - lower).to(grid.dtype)
            low = mixed.index_select(axis, lower.long())
            if weight.any():
                high = mixed.index_select(axis, (lower.long() + 1).clamp(max=grid.shape[axis] - 1))
                low = torch.lerp(low, high, weight.view([-1 if d == axis else 1 for d in range(5)]))
            mixed = low
        features.append(mixed)
    stacked = torch.cat(features, dim=1).movedim(1, -1)
    n, *lattice, c = stacked.shape
    return stacked[..., 0] + fields.mlp(stacked[..., 1:].reshape(n, -1, c - 1)).reshape(n, *lattice)


def _coordinate_values(fields: CoordinateFields, points: Sequence[Tensor]) -> Tensor:
    longest, dtype = max(fields.shape), fields.mlp.weights[0].dtype
    axes = [((2 * at - side) / longest).to(dtype) for at, side in zip(points, fields.shape, strict=True)]
    lattice = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    at = lattice.reshape(1, -1, 3).expand(fields.mlp.n, -1, -1)
    if fields.frequencies is not None:
        angle = at @ fields.frequencies
        at = torch.cat([angle.sin(), angle.cos()], dim=-1)
    return fields.mlp(at).reshape(fields.mlp.n, *lattice.shape[:3])
