"""Where a fit begins: at the volume of interpolated nodes that comes closest to what is wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fit_example import CPU, smooth_volume
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.checkpoint import LEVELS, pack_field, unpack_field
from isofield.field.representation import X, Y, make_fields
from isofield.field.spec import FieldSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(16, 20, 24), (7, 16, 9), (1, 5, 2)]


def spec_of(stride):
    return FieldSpec(strides_vox=(stride, 8), features=(3, 4), hidden=8)


def interpolated(nodes, stride, shape):
    """Trilinear interpolation of nodes (Z', Y', X') at voxel centres by torch's own grid_sample."""
    axes = [
        2 * (torch.arange(side, dtype=nodes.dtype) + 0.5) / (stride * (n - 1)) - 1
        for side, n in zip(shape, nodes.shape, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return F.grid_sample(nodes[None, None], torch.stack([x, y, z], dim=-1)[None], align_corners=True)[0, 0]


def started_at(residual, stride):
    """Fields that were set to start at `residual` (N, Z, Y, X), and all their voxels."""
    fields = make_fields(spec_of(stride), residual.shape[1:], range(len(residual))).requires_grad_(False)
    fields.start_at(residual)
    zx = fields.slices(Y, torch.arange(residual.shape[2])).movedim(1, 2)
    zy = fields.slices(X, torch.arange(residual.shape[3])).movedim(1, 3)
    torch.testing.assert_close(zx, zy, rtol=1e-4, atol=1e-5)
    return fields, zx


def random_nodes(stride, shape, seed=0):
    counts = [-(-side // stride) + 1 for side in shape]
    return torch.randn(counts, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [2, 4])
def test_what_nodes_can_say_is_said_exactly(stride, shape):
    wanted = torch.stack([interpolated(random_nodes(stride, shape, seed), stride, shape) for seed in (0, 1)])
    torch.testing.assert_close(started_at(wanted, stride)[1], wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_voxels_that_are_nodes_say_everything(shape):
    wanted = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(started_at(wanted, 1)[1], wanted, rtol=1e-5, atol=1e-6)
    # Negative control: with nodes further apart noise is beyond them.
    assert float((started_at(wanted, 2)[1] - wanted).std()) > 0.1


def slope(wanted, nodes, stride):
    """Gradient of half the squared distance to `wanted` by the nodes: zero where no other nodes come closer."""
    nodes = nodes.clone().requires_grad_()
    (interpolated(nodes, stride, wanted.shape) - wanted).square().sum().div(2).backward()
    return nodes.grad


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 13)] * 3), st.sampled_from([2, 4, 6]))
def test_what_nodes_cannot_say_is_orthogonal_to_all_that_they_can(shape, stride):
    """The least-squares solution, by its normal equations."""
    wanted = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    fields, values = started_at(wanted[None], stride)
    nodes = fields.grids[0][0, 0].double()
    torch.testing.assert_close(interpolated(nodes, stride, shape).float(), values[0], rtol=1e-4, atol=1e-4)
    assert float(slope(wanted.double(), nodes, stride).abs().max()) < 1e-3


def test_merely_sampling_the_volume_is_no_least_squares_solution():
    """Negative control: nodes set to the volume's values nearby leave a slope, and are further away."""
    wanted = torch.from_numpy(smooth_volume((16, 16, 16), 0)).double()
    at = [torch.arange(9).mul(2).clamp(max=15)] * 3
    sampled = wanted[torch.meshgrid(*at, indexing="ij")]
    _, values = started_at(wanted.float()[None], 2)
    assert float(slope(wanted, sampled, 2).abs().max()) > 0.01
    assert (interpolated(sampled, 2, wanted.shape) - wanted).std() > 1.2 * (values[0] - wanted).std()
    # Smooth volumes are nearly all within reach of the nodes.
    assert float((values[0] - wanted).std()) < 0.15 * float(wanted.std())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_field_starts_at_the_same_place_in_any_batch(shape, stride):
    wanted = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    together, _ = started_at(wanted, stride)
    for n in range(3):
        alone, _ = started_at(wanted[n : n + 1], stride)
        assert torch.equal(together.grids[0][n, 0], alone.grids[0][0, 0])
    assert not torch.equal(together.grids[0][0, 0], together.grids[0][1, 0])


def test_only_the_linear_feature_is_set():
    fields, _ = started_at(torch.ones(1, 8, 8, 8), 2)
    assert [bool(grid[0, c].any()) for grid in fields.grids for c in range(grid.shape[1])] == [True] + [False] * 6


@pytest.mark.parametrize("stride", [1, 2])
def test_packing_moves_a_field_by_half_a_step_at_most(stride):
    wanted = 0.3 * smooth_volume((16, 20, 24), 3)
    fields, values = started_at(torch.from_numpy(wanted)[None], stride)
    packed = unpack_field(pack_field(fields, 0, spec_of(stride)), CPU)
    moved = (packed.slices(Y, torch.arange(20)).movedim(1, 2)[0] - values[0]).abs()
    step = float(fields.grids[0][0, 0].abs().max()) / LEVELS
    # Interpolation only ever averages nodes.
    assert 0 < float(moved.max()) <= 0.5 * step * 1.001
    assert float(moved.square().mean().sqrt()) < 0.01 * np.std(wanted)
