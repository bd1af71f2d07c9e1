"""Fields: implicit neural representations of many equal blocks, held in one set of tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isofield.field.spec import FieldSpec, along_axes, n_nodes

AXIAL, Y, X = 0, 1, 2


class GridFields(nn.Module):
    """N fields as feature grids of several spacings, decoded by one small MLP each, over the interpolated measurement.

    A field is continuous: features are interpolated trilinearly between nodes, so it can be evaluated anywhere. Node k lies
    k * stride voxels from the block's edge, the last one at or beyond the far edge; at stride 1 nodes are voxel centres.
    Value = base + first + MLP(others), first being the first feature of the first grid: what can be said linearly is, the
    MLP adds what cannot. The base has the sections' noise in every voxel of a section: to take it away again, the first grid
    needs a node for each along y and x.
    """

    over_interpolation = True

    def __init__(self, spec: FieldSpec, shape: Sequence[int], seeds: Sequence[int]) -> None:
        """shape (Z, Y, X) of the blocks in voxels; one seed per field."""
        super().__init__()
        self.shape = tuple(shape)
        self.strides = [along_axes(stride) for stride in spec.strides_vox]
        n_features = sum(spec.features) - 1
        self.grids = nn.ParameterList(
            nn.Parameter(torch.zeros(len(seeds), c, *map(n_nodes, shape, stride)))
            for c, stride in zip(spec.features, self.strides, strict=True)
        )
        self.mlp = BatchedMlp([n_features] + [spec.hidden] * spec.n_hidden_layers + [1], seeds)

    def slices(self, axis: int, index: Tensor) -> Tensor:
        """Residuals on the slices `index` across `axis` (Y: ZX slices, X: ZY slices): (N, len(index), Z, width)."""
        features = []
        other = X if axis == Y else Y
        for grid, stride in zip(self.grids, self.strides, strict=True):
            lower, fraction = _node_weights(index.to(grid.dtype), stride[axis])
            mixed = grid.index_select(2 + axis, lower)
            if stride[axis] > 1:
                weight = fraction.view([-1 if d == 2 + axis else 1 for d in range(5)])
                mixed = torch.lerp(mixed, grid.index_select(2 + axis, lower + 1), weight)
            mixed = mixed.movedim(2 + axis, 1)
            n, k, c = mixed.shape[:3]
            size = self.shape[AXIAL], self.shape[other]
            planes = _upsample2d(mixed.reshape(n * k, c, *mixed.shape[3:]), (stride[AXIAL], stride[other]), size)
            features.append(planes.reshape(n, k, c, *size))
        stacked = torch.cat(features, dim=2).movedim(2, -1)
        n, k, z, w, c = stacked.shape
        return stacked[..., 0] + self.mlp(stacked[..., 1:].reshape(n, k * z * w, c - 1)).reshape(n, k, z, w)

    @torch.no_grad()
    def start_at(self, residual: Tensor) -> None:
        """Set the first feature so that the fields come closest to `residual` (N, Z, Y, X) over the base, in least squares.

        Trilinear interpolation is separable, so the solution is the pseudo-inverse of each axis' interpolation in turn.
        """
        matrices = map(_interpolation, self.shape, self.strides[0])
        inverses = [torch.linalg.pinv(matrix).to(residual) for matrix in matrices]
        # One field at a time: batched products round differently from single ones.
        for n, nodes in enumerate(residual):
            for axis, inverse in enumerate(inverses):
                nodes = torch.tensordot(nodes, inverse, dims=([axis], [1])).movedim(-1, axis)
            self.grids[0][n, 0] = nodes


class CoordinateFields(nn.Module):
    """N fields as plain coordinate MLPs: SIREN (Sitzmann et al. 2020) or random Fourier features (Tancik et al. 2020).

    Coordinates run from -1 to 1 between the outer voxel edges of the block's longest side.
    """

    over_interpolation = False

    def __init__(self, spec: FieldSpec, shape: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        widths = [spec.hidden] * spec.n_hidden_layers + [1]
        if spec.kind == "fourier":
            drawn = [torch.randn(3, spec.n_frequencies, generator=_generator(s)) for s in seeds]
            self.register_buffer("frequencies", torch.stack(drawn) * spec.frequency * math.pi)
            self.mlp = BatchedMlp([2 * spec.n_frequencies, *widths], seeds)
        else:
            self.frequencies = None
            self.mlp = BatchedMlp([3, *widths], seeds, sine_frequency=spec.frequency)

    def slices(self, axis: int, index: Tensor) -> Tensor:
        """Values on the slices `index` across `axis` (Y: ZX slices, X: ZY slices): (N, len(index), Z, width)."""
        longest = max(self.shape)
        axes = [(torch.arange(side, device=index.device) * 2.0 + 1 - side) / longest for side in self.shape]
        axes[axis] = axes[axis][index]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).movedim(axis, 0)
        k, z, w, _ = points.shape
        points = points.reshape(1, -1, 3).expand(self.mlp.n, -1, -1)
        if self.frequencies is not None:
            angle = points @ self.frequencies
            points = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return self.mlp(points).reshape(self.mlp.n, k, z, w)


class BatchedMlp(nn.Module):
    """N small MLPs side by side: (N, P, n_in) -> (N, P, 1). SiLU, or sine with SIREN's initialisation."""

    def __init__(self, widths: Sequence[int], seeds: Sequence[int], sine_frequency: float | None = None) -> None:
        super().__init__()
        self.n, self.sine_frequency = len(seeds), sine_frequency
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        generators = [_generator(seed) for seed in seeds]
        for layer, (a, b) in enumerate(itertools.pairwise(widths)):
            bound = self._bound(layer, a)
            drawn = [(torch.rand(a, b, generator=g) * 2 - 1) * bound for g in generators]
            self.weights.append(nn.Parameter(torch.stack(drawn)))
            self.biases.append(nn.Parameter(torch.zeros(self.n, 1, b)))

    def _bound(self, layer: int, n_in: int) -> float:
        if self.sine_frequency is None:
            return math.sqrt(3 / max(1, n_in))
        return 1 / n_in if layer == 0 else math.sqrt(6 / n_in) / self.sine_frequency

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = _affine(bias, x, weight)
            if layer < last:
                x = F.silu(x) if self.sine_frequency is None else torch.sin(self.sine_frequency * x)
        return x


def _affine(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """bias + x weight, field by field. On a CPU one field at a time: batched products round differently from single ones."""
    if x.is_cuda or len(x) == 1:
        return torch.baddbmm(bias, x, weight)
    return torch.cat([torch.baddbmm(*one) for one in zip(bias.split(1), x.split(1), weight.split(1), strict=True)])


Fields = GridFields | CoordinateFields


def make_fields(spec: FieldSpec, shape: Sequence[int], seeds: Sequence[int]) -> Fields:
    """Fresh fields of the configured kind, one per seed; what the spec leaves open is as for posterior means."""
    spec = spec.decided()
    return GridFields(spec, shape, seeds) if spec.kind == "grid" else CoordinateFields(spec, shape, seeds)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


def _node_weights(position: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Lower node and weight of the upper one, for the centres of voxels `position`."""
    at = position if stride == 1 else (position + 0.5) / stride
    lower = at.floor()
    return lower.long(), at - lower


def _interpolation(side: int, stride: int) -> Tensor:
    """Matrix (side, nodes) that interpolates nodes linearly at voxel centres, float64."""
    lower, fraction = _node_weights(torch.arange(side, dtype=torch.float64), stride)
    if stride == 1:
        return torch.eye(side, dtype=torch.float64)
    matrix = torch.zeros(side, n_nodes(side, stride), dtype=torch.float64)
    rows = torch.arange(side)
    matrix[rows, lower] = 1 - fraction
    matrix[rows, lower + 1] = fraction
    return matrix


def _upsample2d(planes: Tensor, strides: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation of node planes at voxel centres, `size` (height, width) of them. Strides are 1 or even."""
    if strides == (1, 1):
        return planes
    full = F.interpolate(planes, scale_factor=tuple(map(float, strides)), mode="bilinear", align_corners=False)
    (top, left), (height, width) = (stride // 2 for stride in strides), size
    return full[..., top : top + height, left : left + width]
