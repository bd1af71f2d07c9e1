"""Stopping early: a field that no longer improves stays as it is, whatever those beside it still do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fit_example import FINE, GRID, fitted, measured_block, smooth_volume

from isofield.field.fit import PATIENCE, Watch
from isofield.field.representation import GridFields
from isofield.field.spec import FitSpec

# --- the watch itself ---


class Followed:
    """Fields of two numbers each under a watch: what was lost in each step is given, the numbers count the steps."""

    def __init__(self, n, n_steps):
        self.parameters = [torch.zeros(n, 2), torch.zeros(n, 1, 3)]
        self.watch = Watch(SimpleNamespace(parameters=lambda: self.parameters), n, n_steps)

    def run(self, losses, below):
        """Number of steps until no field improved any more, or all there are."""
        for step, row in enumerate(losses):
            for parameter in self.parameters:
                parameter += 1
            self.watch.see(step, np.array(row, float))
            if self.watch.stop(step, below):
                return step + 1
        return len(losses)


def falling(factor, n_steps):
    return [factor**k for k in range(n_steps)]


def test_a_field_is_kept_as_it_was_when_it_stopped():
    n_steps = 4 * PATIENCE
    still, moving = [1.0] * n_steps, falling(0.9, n_steps)
    followed = Followed(2, n_steps)
    assert followed.run(np.column_stack([still, moving]), below=0.01) == n_steps
    assert followed.watch.running.tolist() == [False, True]
    followed.watch.restore()
    for parameter in followed.parameters:
        assert parameter[0].unique().tolist() == [2 * PATIENCE]
        assert parameter[1].unique().tolist() == [n_steps]
    losses = followed.watch.losses
    np.testing.assert_array_equal(losses[:, 1], moving)
    np.testing.assert_array_equal(losses[: 2 * PATIENCE, 0], 1.0)
    assert np.isnan(losses[2 * PATIENCE :, 0]).all()
    assert followed.watch.sound().tolist() == [True, True]


def test_once_no_field_improves_the_fit_is_over():
    followed = Followed(2, 100)
    assert followed.run(np.ones((100, 2)), below=0.01) == 2 * PATIENCE
    assert Followed(2, 100).run(np.column_stack([falling(0.9, 100)] * 2), below=0.01) == 100


@pytest.mark.parametrize(("below", "stops"), [(0.0, False), (0.3, False), (0.5, True)])
def test_it_is_the_share_by_which_the_loss_falls_that_counts(below, stops):
    """Losses a million times as large fall by the same share: here 0.43 from one eight steps to the next."""
    n_steps = 2 * PATIENCE
    for scale in (1.0, 1e6):
        losses = scale * np.array(falling(0.5 ** (0.81 / PATIENCE), n_steps))
        assert 1 - losses[PATIENCE:].mean() / losses[:PATIENCE].mean() == pytest.approx(0.43, abs=0.005)
        followed = Followed(1, n_steps)
        followed.run(losses[:, None], below)
        assert followed.watch.running.tolist() == [not stops]


def test_a_loss_that_rises_stops_a_field_whatever_the_share():
    followed = Followed(1, 50)
    assert followed.run(np.array(falling(1.01, 50))[:, None], below=0.0) == 2 * PATIENCE


def test_a_loss_that_is_not_finite_is_unsound_and_stays_so():
    n_steps = 4 * PATIENCE
    for bad in (np.nan, np.inf):
        losses = np.ones((n_steps, 2)) * np.array(falling(0.9, n_steps))[:, None]
        losses[3, 0] = bad
        followed = Followed(2, n_steps)
        followed.run(losses, below=0.01)
        assert followed.watch.sound().tolist() == [False, True]


def test_what_happens_to_a_field_after_it_stopped_is_not_held_against_it():
    n_steps = 3 * PATIENCE
    losses = np.column_stack([np.ones(n_steps), falling(0.9, n_steps)])
    losses[2 * PATIENCE :, 0] = np.nan
    followed = Followed(2, n_steps)
    followed.run(losses, below=0.01)
    assert followed.watch.sound().tolist() == [True, True]
    # Negative control: a field that still runs is not forgiven.
    followed = Followed(2, n_steps)
    followed.run(losses, below=-1.0)
    assert followed.watch.sound().tolist() == [False, True]


def test_a_loss_that_has_grown_tenfold_is_unsound():
    for growth, sound in ((9.0, True), (11.0, False)):
        followed = Followed(1, 2)
        followed.run([[1.0], [growth]], below=0.01)
        assert followed.watch.sound().tolist() == [sound]


# --- in a fit ---

SHAPE = (16, 20, 24)
SPEC = FitSpec(steps=5 * PATIENCE, slice_share=0.25, stop_below=0.02)


def at_odds(noisy, sigma, condition):
    """Both directions want something else, so that no field ever comes closer than half way between them."""
    return condition[:, :1] * (1.1 if condition.shape[-1] == SHAPE[2] else 0.9)


@pytest.fixture(scope="module")
def content():
    """A block that has nothing to learn beyond where it starts: its sections agree with the mean of both directions."""
    block = measured_block(smooth_volume(SHAPE, 0, width=3.0), seed=1)
    return replace(block, measured=np.tensordot(block.measure, block.base, axes=1).astype(np.float32))


@pytest.fixture(scope="module")
def torn():
    """A block whose sections say something else than the denoiser: from the interpolation it goes on and on."""
    block = measured_block(smooth_volume(SHAPE, 1, width=3.0), seed=2)
    return replace(block, measured=block.measured + 1.0)


def steps(result, place):
    return int(np.isfinite(result.losses[:, place]).sum())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("field", [GRID, FINE], ids=["grid", "fine"])
@pytest.mark.parametrize("first", ["content", "torn"])
def test_a_block_that_stopped_is_the_same_beside_one_that_goes_on(content, torn, field, first, monkeypatch):
    """Bit for bit, and in every figure that is reported of it."""
    # Fields that begin where they are to end would all stop at once: these begin at the interpolation.
    monkeypatch.setattr(GridFields, "start_at", lambda fields, residual: None)
    batch = [content, torn] if first == "content" else [torn, content]
    alone = [fitted([block], at_odds, SPEC, field) for block in batch]
    result, values = fitted(batch, at_odds, SPEC, field)
    place = 0 if first == "content" else 1
    assert steps(result, place) < steps(result, 1 - place)
    for k, (own, (own_values,)) in enumerate(alone):
        assert steps(result, k) == steps(own, 0)
        np.testing.assert_array_equal(values[k], own_values)
        for figure in ("losses", "data_rms", "prior_rms"):
            np.testing.assert_array_equal(getattr(result, figure)[..., k], getattr(own, figure)[..., 0], err_msg=figure)
    assert result.sound.all()
    # Negative control: the other's steps did change it, and were undone.
    monkeypatch.setattr(Watch, "restore", lambda watch: None)
    changed = fitted(batch, at_odds, SPEC, field)[1]
    assert np.abs(changed[place] - values[place]).max() > 1e-5
    np.testing.assert_array_equal(changed[1 - place], values[1 - place])


def test_score_distillation_never_stops_early(content):
    def like(noisy, sigma, condition):
        return 0 * noisy

    result, _ = fitted([content], like, FitSpec(mode="sds", steps=3 * PATIENCE, slice_share=0.1, stop_below=0.99))
    assert steps(result, 0) == 3 * PATIENCE


def test_progress_ends_where_the_fit_ends(content):
    seen = []
    result, _ = fitted([content], at_odds, SPEC, progress=lambda *at: seen.append(at))
    assert seen == [(k, SPEC.steps) for k in range(1, steps(result, 0) + 1)]
    assert len(seen) < SPEC.steps
