"""A field on disk: how far quantisation may move it, how small it is, and what a damaged one does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from isofield.field.checkpoint import LEVELS, pack_field, unpack_field
from isofield.field.representation import X, Y, make_fields
from isofield.field.spec import FieldSpec

CPU = torch.device("cpu")
SHAPE = (9, 12, 10)
SPECS = {
    "grid": FieldSpec(strides_vox=(2, 4), features=(3, 5), hidden=8),
    "fine grid": FieldSpec(strides_vox=(1, 4), features=(1, 4), hidden=8),
    "siren": FieldSpec(kind="siren", hidden=16, n_hidden_layers=2),
    "fourier": FieldSpec(kind="fourier", hidden=16, n_hidden_layers=2, n_frequencies=6),
}


def random_fields(spec, seeds, shape=SHAPE):
    fields = make_fields(spec, shape, seeds).requires_grad_(False)
    generator = torch.Generator().manual_seed(seeds[0])
    for parameter in fields.parameters():
        parameter += torch.randn(parameter.shape, generator=generator)
    return fields


@pytest.mark.parametrize("kind", SPECS)
def test_the_right_field_of_a_batch_comes_back(kind):
    fields = random_fields(SPECS[kind], [0, 1])
    for n in (0, 1):
        back = unpack_field(pack_field(fields, n, SPECS[kind]), CPU)
        assert back.shape == SHAPE
        assert not any(parameter.requires_grad for parameter in back.parameters())
        for name, value in back.state_dict().items():
            own = fields.state_dict()[name][n]
            if name.startswith("grids."):
                # int8 times one scale per feature: half a step of 1/127 of the feature's largest value.
                step = own.abs().amax(dim=(1, 2, 3), keepdim=True) / LEVELS
                assert ((value[0] - own).abs() <= 0.5 * step * (1 + 1e-4)).all()
                assert not torch.equal(value[0], own)
            else:
                assert torch.equal(value[0], own)


@pytest.mark.parametrize("kind", ["siren", "fourier"])
def test_coordinate_fields_come_back_exactly(kind):
    fields = random_fields(SPECS[kind], [4])
    back = unpack_field(pack_field(fields, 0, SPECS[kind]), CPU)
    for axis, side in ((Y, SHAPE[1]), (X, SHAPE[2])):
        assert torch.equal(back.slices(axis, torch.arange(side)), fields.slices(axis, torch.arange(side)))


def test_packing_again_changes_nothing():
    """Quantising what was quantised is the identity, so a field may be moved about without wearing off."""
    once = pack_field(random_fields(SPECS["grid"], [0]), 0, SPECS["grid"])
    back = unpack_field(once, CPU)
    twice = unpack_field(pack_field(back, 0, SPECS["grid"]), CPU)
    for name, value in back.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=1e-6, atol=0)


def test_equal_fields_are_equal_bytes_wherever_they_lie_in_a_batch():
    spec = SPECS["grid"]
    alone, pair = random_fields(spec, [3]), random_fields(spec, [9, 3])
    for name, value in pair.state_dict().items():
        value[1] = alone.state_dict()[name][0]
    assert pack_field(pair, 1, spec) == pack_field(alone, 0, spec)
    assert pack_field(pair, 0, spec) != pack_field(alone, 0, spec)


def test_an_empty_feature_is_no_division_by_zero():
    fields = make_fields(SPECS["grid"], SHAPE, [0]).requires_grad_(False)
    back = unpack_field(pack_field(fields, 0, SPECS["grid"]), CPU)
    assert all(float(grid.abs().max()) == 0.0 for grid in back.grids)


@pytest.mark.parametrize("detail", [0.0, 1.0])
def test_a_default_block_costs_less_than_two_bytes_per_voxel(detail):
    """128^3 voxels owned; the field reaches 16 further along z and 8 across."""
    spec = FieldSpec().decided(detail)
    data = pack_field(make_fields(spec, (160, 144, 144), [0]), 0, spec)
    per_vox = len(data) / 128**3
    assert per_vox <= 2.0
    # Negative control: in single precision it would not have been.
    assert sum(t.numel() * 4 for t in load(data).values()) / 128**3 > 2.0


def test_the_header_says_what_it_is():
    data = pack_field(random_fields(SPECS["grid"], [0]), 0, SPECS["grid"])
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["isofield"])
    assert about["format"] == "isofield-field-1"
    assert about["shape"] == list(SHAPE)
    assert FieldSpec.model_validate(about["spec"]) == SPECS["grid"]


PACKED = pack_field(random_fields(SPECS["grid"], [0]), 0, SPECS["grid"])


@given(st.integers(0, len(PACKED) - 1))
@settings(max_examples=50)
def test_a_field_cut_off_anywhere_is_refused(length):
    with pytest.raises(ValueError, match="not a field"):
        unpack_field(PACKED[:length], CPU)


@given(st.data())
@settings(max_examples=80)
def test_a_damaged_header_is_refused_or_harmless(data):
    """Never another exception than ValueError, whichever byte of the header is hit."""
    n_header = 8 + int.from_bytes(PACKED[:8], "little")
    at = data.draw(st.integers(0, n_header - 1))
    damaged = bytearray(PACKED)
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        back = unpack_field(bytes(damaged), CPU)
    except ValueError:
        return
    assert back.slices(Y, torch.arange(back.shape[1])).shape[0] == 1


def test_something_else_is_refused():
    for other in (b"", b"\x00" * 100, np.arange(100).tobytes(), b"PK\x03\x04" * 20):
        with pytest.raises(ValueError, match="not a field"):
            unpack_field(other, CPU)
