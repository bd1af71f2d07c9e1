"""Blocks in one batch: equal shapes only, and the field where it lies within what the block sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fit_example import measured_block, smooth_volume, stacked

FIELD = ((2, 3), (9, 7))


@pytest.fixture
def truth():
    return smooth_volume((12, 12, 14), 0)


def test_a_batch_is_its_blocks_one_after_the_other(truth):
    blocks = [measured_block(truth + k, field=FIELD, noise_seed=k) for k in range(3)]
    batch = stacked(*blocks)
    for name in ("base", "measured", "measure", "phase", "noise"):
        stack = getattr(batch, name)
        assert stack.dtype == torch.float32
        for n, block in enumerate(blocks):
            np.testing.assert_allclose(stack[n].numpy(), getattr(block, name), rtol=1e-6)
    assert not torch.equal(batch.base[0], batch.base[1])
    assert [tuple(m.shape) for m in batch.neighbours] == [(2, 12, 12), (2, 14, 14)]
    assert stacked(measured_block(truth)).noise is None


def test_the_base_of_the_field_is_cut_out_of_what_is_seen(truth):
    block = measured_block(truth, field=FIELD)
    batch = stacked(block)
    np.testing.assert_array_equal(batch.field_base[0].numpy(), block.base[:, 2:11, 3:10])
    assert batch.field_base.shape[1:] == block.field_shape == (12, 9, 7)
    # Negative control: offsets the other way round cut out something else.
    assert not np.array_equal(batch.field_base[0].numpy(), block.base[:, 3:12, 2:9])


def test_blocks_of_unequal_shapes_are_refused(truth):
    one = measured_block(truth, field=FIELD)
    for other in (
        measured_block(truth),
        measured_block(truth, field=((3, 2), (9, 7))),
        measured_block(truth, planes=(0, 8), field=FIELD),
    ):
        with pytest.raises(ValueError, match="unequal shapes"):
            stacked(one, other)
    assert len(stacked(one, measured_block(truth + 1, field=FIELD)).base) == 2
