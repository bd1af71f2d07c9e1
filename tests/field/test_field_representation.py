"""Fields against an independent evaluation of the same numbers, point by point."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.field.representation import CoordinateFields, X, Y, make_fields
from isofield.field.spec import FieldSpec

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = FieldSpec(strides_vox=(2, 4), features=(3, 5), hidden=8)
FINE = FieldSpec(strides_vox=(1, 4), features=(1, 4), hidden=8)
"""Grids as they are where texture is asked for."""
SIREN = FieldSpec(kind="siren", hidden=16, n_hidden_layers=2, frequency=12.0)
FOURIER = FieldSpec(kind="fourier", hidden=16, n_hidden_layers=2, n_frequencies=6, frequency=1.5)

KINDS = [GRID, FINE, SIREN, FOURIER]
IDS = ["grid", "fine grid", "siren", "fourier"]


def random_fields(spec, shape, seeds):
    """Fields whose feature grids are not zero, as fitting leaves them."""
    fields = make_fields(spec, shape, seeds).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in fields.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return fields


def mlp_by_hand(mlp, n, features, sine_frequency=None):
    """The MLP of field n, one layer after the other: features (..., n_in) -> (...)."""
    last = len(mlp.weights) - 1
    for layer, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        features = features @ weight[n] + bias[n]
        if layer < last:
            features = F.silu(features) if sine_frequency is None else torch.sin(sine_frequency * features)
    return features[..., 0]


def grid_by_hand(fields, spec, n, shape):
    """All voxels of field n through torch's own grid_sample: node k lies k * stride voxels from the block's edge.

    At stride 1 nodes are the voxels themselves.
    """
    parts = []
    for grid, stride in zip(fields.grids, spec.strides_vox, strict=True):
        if stride == 1:
            parts.append(grid[n])
            continue
        axes = []
        for side, nodes in zip(shape, grid.shape[2:], strict=True):
            centre = torch.arange(side) + 0.5
            axes.append(2 * centre / (stride * (nodes - 1)) - 1)
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        where = torch.stack([x, y, z], dim=-1)[None]
        sampled = F.grid_sample(grid[n : n + 1], where, mode="bilinear", align_corners=True, padding_mode="zeros")
        parts.append(sampled[0])
    features = torch.cat(parts).movedim(0, -1)
    # The first feature of the first grid is said as it is, the others through the MLP.
    return features[..., 0] + mlp_by_hand(fields.mlp, n, features[..., 1:])


def coordinates_by_hand(fields, spec, n, shape):
    longest = max(shape)
    axes = [((torch.arange(side) + 0.5) - side / 2) * 2 / longest for side in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    if spec.kind == "siren":
        return mlp_by_hand(fields.mlp, n, points, spec.frequency)
    angle = points @ fields.frequencies[n]
    return mlp_by_hand(fields.mlp, n, torch.cat([angle.sin(), angle.cos()], dim=-1))


def by_hand(fields, spec, n, shape):
    return (grid_by_hand if spec.kind == "grid" else coordinates_by_hand)(fields, spec, n, shape)


@pytest.mark.parametrize("spec", KINDS, ids=IDS)
@pytest.mark.parametrize("shape", [(12, 10, 14), (7, 16, 9)])
def test_slices_are_the_field_at_voxel_centres(spec, shape):
    fields = random_fields(spec, shape, [0, 1])
    for n in (0, 1):
        volume = by_hand(fields, spec, n, shape)
        zx = fields.slices(Y, torch.tensor([0, 3, shape[1] - 1]))[n]
        torch.testing.assert_close(zx, volume[:, [0, 3, shape[1] - 1]].movedim(1, 0), rtol=1e-4, atol=1e-5)
        zy = fields.slices(X, torch.tensor([0, 5, shape[2] - 1]))[n]
        torch.testing.assert_close(zy, volume[..., [0, 5, shape[2] - 1]].movedim(2, 0), rtol=1e-4, atol=1e-5)


@settings(max_examples=20)
@given(
    st.tuples(*[st.integers(1, 20)] * 3),
    st.lists(st.sampled_from([1, 2, 4, 6, 8, 10]), min_size=1, max_size=3),
    st.integers(1, 3),
)
def test_grids_of_any_shape_and_spacing(shape, strides, n_features):
    spec = FieldSpec(strides_vox=tuple(strides), features=(n_features,) * len(strides), hidden=4)
    fields = random_fields(spec, shape, [0])
    volume = grid_by_hand(fields, spec, 0, shape)
    torch.testing.assert_close(fields.slices(Y, torch.arange(shape[1]))[0].movedim(0, 1), volume, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fields.slices(X, torch.arange(shape[2]))[0].movedim(0, 2), volume, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", KINDS, ids=IDS)
def test_both_orientations_agree_where_they_cross(spec):
    shape = (12, 10, 14)
    fields = random_fields(spec, shape, [3])
    zx, zy = fields.slices(Y, torch.arange(10))[0], fields.slices(X, torch.arange(14))[0]
    torch.testing.assert_close(zx.movedim(0, 1), zy.movedim(0, 2), rtol=1e-4, atol=1e-5)
    # Negative control: one voxel off is another value.
    assert not torch.allclose(zx.movedim(0, 1)[..., 1:], zy.movedim(0, 2)[..., :-1], atol=1e-2)


@pytest.mark.parametrize("spec", [GRID, FINE], ids=IDS[:2])
def test_a_fresh_grid_says_nothing_and_seeds_differ(spec):
    fields = make_fields(spec, (8, 8, 8), [1, 2])
    assert float(fields.slices(Y, torch.arange(8)).detach().abs().max()) == 0.0
    assert not torch.equal(fields.mlp.weights[0][0], fields.mlp.weights[0][1])


@pytest.mark.parametrize("spec", [SIREN, FOURIER], ids=lambda s: s.kind)
def test_coordinate_fields_depend_on_their_seed_only(spec):
    pair, alone, other = (make_fields(spec, (6, 8, 8), seeds) for seeds in ([5, 6], [6], [7]))
    assert isinstance(alone, CoordinateFields)
    values = [fields.slices(Y, torch.arange(8)) for fields in (pair, alone, other)]
    torch.testing.assert_close(values[0][1], values[1][0])
    assert not torch.allclose(values[1], values[2], atol=1e-3)


@pytest.mark.parametrize("spec", KINDS, ids=IDS)
def test_numbers_are_counted_per_field(spec):
    fields = make_fields(spec, (9, 10, 11), [0, 1, 2])
    assert 3 * sum(spec.n_numbers((9, 10, 11))) == sum(v.numel() for v in fields.state_dict().values())


def test_grid_nodes_reach_the_far_edge():
    fields = make_fields(FieldSpec(strides_vox=(2, 8, 1), features=(1, 1, 1)), (9, 16, 17), [0])
    assert [tuple(grid.shape[2:]) for grid in fields.grids] == [(6, 9, 10), (3, 3, 4), (9, 16, 17)]


def test_a_grid_of_one_feature_is_linear_and_the_mlp_adds_a_constant_at_most():
    spec = FieldSpec(strides_vox=(2,), features=(1,), hidden=4)
    fields = random_fields(spec, (6, 7, 8), [0])
    values = fields.slices(Y, torch.arange(7))
    fields.grids[0] *= 2
    doubled = fields.slices(Y, torch.arange(7))
    fields.grids[0] *= 0
    nothing = fields.slices(Y, torch.arange(7))
    torch.testing.assert_close(doubled - nothing, 2 * (values - nothing), rtol=1e-4, atol=1e-5)
    assert float(nothing.std()) < 1e-6
    assert float(values.std()) > 0.05
