"""The network: any size of slice, and an answer that is nobody's business beyond its reach."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isofield.prior.network import UNet2d
from isofield.prior.spec import axial_fold

pytestmark = pytest.mark.usefixtures("one_thread")

FOLD = 4


def network(channels=(8, 8), n_blocks=1, fold=FOLD):
    torch.manual_seed(0)
    made = UNet2d(2, channels, n_blocks, fold)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    # In double precision rounding cannot be taken for seeing: convolutions add up in an order that depends on sizes.
    return made.double().requires_grad_(False)


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


ZERO = torch.zeros(1, dtype=torch.float64)


def axial_reach(n_levels, n_blocks=1):
    """How many planes away a voxel can still be felt: all convolutions are at the sampling of the folded slice."""
    return (2 * n_blocks * (2 * n_levels - 1) + 2) * FOLD + FOLD - 1


def reach(n_levels, n_blocks=1):
    """How many columns away a voxel can still be felt: 3x3 convolutions, two per block, on ever coarser levels."""
    below = 0
    for level in reversed(range(n_levels)):
        blocks = 2 * n_blocks * (1 if level == n_levels - 1 else 2)
        below = blocks + (2 * below + 1 if level < n_levels - 1 else 0)
    return below + 2


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.integers(1, 12), st.integers(0, 11))
def test_slices_of_any_size_keep_it(z, x, n_levels, fold, lead):
    made = network((4,) * n_levels, fold=fold)
    answer = made(noise(2, 2, z, x), ZERO.expand(2), lead % fold)
    assert answer.shape == (2, 1, z, x)
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize(("channels", "n_blocks"), [((8,), 1), ((8, 8), 1), ((8, 8), 2), ((8, 8, 8), 1)])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_voxel_beyond_reach_changes_nothing(channels, n_blocks, axis):
    made = network(channels, n_blocks)
    far_vox = (axial_reach if axis == 2 else reach)(len(channels), n_blocks)
    shape = [1, 2, 16, 16]
    shape[axis] = 2 * far_vox + 16 * FOLD
    slices = noise(*shape)
    touched = slices.clone()
    middle = shape[axis] // 2
    touched.select(axis, middle)[:] += 50.0
    change = (made(touched, ZERO) - made(slices, ZERO)).abs().movedim(axis, 0).flatten(1).amax(1)
    places = (torch.arange(shape[axis]) - middle).abs()
    # The answer beyond reach is the same to the last bit, and not because nothing ever changes.
    assert float(change[places > far_vox].max()) == 0.0
    assert float(change[places <= 2].min()) > 0.0
    assert int(places[change > 0].max()) > far_vox // 2


def test_global_statistics_would_be_seen():
    """Negative control: with normalisation over the slice, as many networks have it, a far voxel does change the answer."""
    made = network()
    made.stem = nn.Sequential(made.stem, nn.InstanceNorm2d(8))
    slices = noise(1, 2, 16, 200)
    touched = slices.clone()
    touched[..., 190:] += 50.0
    change = (made(touched, ZERO) - made(slices, ZERO)).abs()
    assert float(change[..., :20].max()) > 1e-3


def test_the_same_tissue_in_a_larger_slice_gets_the_same_answer():
    """What blocks lean on: away from its edges a slice is treated alike, however far it reaches."""
    made = network()
    large = noise(1, 2, 320, 160)
    begin = 4 * FOLD + 3  # in the middle of a section, and the network is told so
    small = large[:, :, begin : 68 * FOLD, 20:140]
    inner_z, inner_x = axial_reach(2) + FOLD, reach(2) + 2
    whole = made(large, ZERO)[:, :, begin : 68 * FOLD, 20:140]
    part = made(small, ZERO, lead=3)
    cut = (..., slice(inner_z, -inner_z), slice(inner_x, -inner_x))
    assert part[cut].numel() > 100
    scale = float(whole[cut].std())
    torch.testing.assert_close(part[cut] / scale, whole[cut] / scale, rtol=0, atol=1e-9)
    # Negative control: taken for the begin of a section, it would get another answer.
    assert float((made(small, ZERO) - whole)[cut].abs().max()) > 1e-3 * scale
    # Nearer to its edges it is not: the margin is not for show.
    assert float((part - whole).abs().max()) > 1e-3 * scale


def test_slices_do_not_see_each_other():
    made = network()
    slices = noise(3, 2, 24, 24)
    scalars = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    together = made(slices, scalars)
    torch.testing.assert_close(together[1:2], made(slices[1:2], scalars[1:2]), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(together[1:2], made(slices[1:2], scalars[2:]), atol=1e-3)


@pytest.mark.parametrize(
    ("ratio", "fold"),
    [("2", 2), ("4", 4), ("8", 8), ("10", 10), ("12", 12), ("1", 4), ("5/2", 4), ("9/2", 4), ("250/23", 8)],
)
def test_whole_sections_are_folded_where_they_are_whole_planes_thick(ratio, fold):
    assert axial_fold(Fraction(ratio)) == fold
