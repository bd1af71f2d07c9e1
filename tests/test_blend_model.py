"""Blending against a model of three lines: blocks change, shards are written in any order, the image is always the model's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from isofield.blend import Windows, gather, whole_blocks
from isofield.blocks import BlockGrid
from isofield.geometry import ZYX, Roi


def hat(length: int, core: int, overlap: int, block: int) -> np.ndarray:
    """One block's window along one axis before all are scaled to sum to one, from its definition, voxel by voxel."""
    begin, end = block * core, min((block + 1) * core, length)
    weights = np.zeros(length)
    for voxel in range(max(0, begin - overlap), min(length, end + overlap)):
        rise = 1 if begin == 0 or not overlap else (voxel + 0.5 - begin + overlap) / (2 * overlap)
        fall = 1 if end == length or not overlap else (end + overlap - voxel - 0.5) / (2 * overlap)
        weights[voxel] = min(max(rise, 0), 1) * min(max(fall, 0), 1)
    return weights


def model_weights(grid: BlockGrid, overlap: int) -> np.ndarray:
    """(blocks, Z, Y, X) of the whole volume, by brute force."""
    axes = []
    for length, core, n in zip(grid.shape, grid.core, grid.grid_shape, strict=True):
        raw = np.stack([hat(length, core, overlap, block) for block in range(n)])
        axes.append(raw / raw.sum(axis=0))
    return np.stack(
        [np.einsum("z,y,x->zyx", *(axis[p] for axis, p in zip(axes, grid.position(i), strict=True))) for i in range(len(grid))]
    )


class Blending(RuleBasedStateMachine):
    """An image of shards over fields that are fitted again now and then."""

    @initialize(
        shape=st.tuples(*(st.integers(3, 14),) * 3),
        core=st.integers(3, 7),
        overlap=st.integers(0, 3),
        shard=st.integers(2, 9),
        seed=st.integers(0, 9),
    )
    def begin(self, shape, core, overlap, shard, seed) -> None:
        self.grid = BlockGrid(ZYX(*shape), ZYX(core, core, core), ZYX(*(overlap,) * 3))
        self.windows = Windows(self.grid, overlap)
        self.weights = model_weights(self.grid, overlap)
        self.rng = np.random.default_rng(seed)
        self.fields = [self.drawn(i) for i in range(len(self.grid))]
        corners = itertools.product(*(range(0, n, shard) for n in shape))
        self.shards = [Roi(corner, (shard,) * 3).intersect(self.grid.bounds) for corner in corners]
        self.image = np.full(shape, np.nan, np.float32)
        self.current: set[int] = set()

    def drawn(self, index: int) -> np.ndarray:
        return self.rng.normal(size=self.grid[index].field_roi.shape).astype(np.float32)

    @rule(number=st.integers(0, 10**6))
    def write_a_shard(self, number) -> None:
        number %= len(self.shards)
        roi = self.shards[number]
        self.image[roi.slices] = gather(roi, self.windows, whole_blocks(self.grid, self.fields.__getitem__)).values
        self.current.add(number)

    @rule(index=st.integers(0, 10**6))
    def fit_a_block_again(self, index) -> None:
        index %= len(self.grid)
        self.fields[index] = self.drawn(index)
        # By the model: shards in which the block has any weight. The others must not need to be written again.
        self.current -= {k for k, roi in enumerate(self.shards) if self.weights[index][roi.slices].any()}

    @precondition(lambda self: hasattr(self, "shards") and len(self.shards) < 40)
    @rule(order=st.randoms(use_true_random=False))
    def write_all_that_is_stale(self, order) -> None:
        stale = [k for k in range(len(self.shards)) if k not in self.current]
        order.shuffle(stale)
        for number in stale:
            self.write_a_shard(number)

    @invariant()
    def what_is_current_is_the_weighted_mean_of_all_fields(self) -> None:
        if not hasattr(self, "shards"):
            return
        model = np.zeros(self.grid.shape)
        for index, values in enumerate(self.fields):
            inside = self.grid[index].field_roi.slices
            model[inside] += self.weights[index][inside] * values
            assert np.isclose(self.weights[index][inside].sum(), self.weights[index].sum()), "the window leaves the field"
        for number in self.current:
            roi = self.shards[number]
            np.testing.assert_allclose(self.image[roi.slices], model[roi.slices], atol=1e-5)


TestBlending = Blending.TestCase
TestBlending.settings = settings(max_examples=25, stateful_step_count=15, derandomize=True)


def test_blending_that_forgets_the_blocks_around_is_noticed(monkeypatch):
    """Negative control: the model is sharp."""
    touching = BlockGrid.touching
    monkeypatch.setattr(BlockGrid, "touching", lambda grid, roi, margin=0: touching(grid, roi, 0))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Blending, settings=settings(TestBlending.settings, database=None, phases=[Phase.generate]))
