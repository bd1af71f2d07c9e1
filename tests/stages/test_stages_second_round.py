"""Training in two rounds: from plan to image, interrupted anywhere, and from the prior of another volume."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_run import TinyRun

from isofield.measurement import MeasurementModel
from isofield.prior.checkpoint import load_prior
from isofield.prior.spec import PriorSpec
from isofield.records import read_json
from isofield.stages import restoring, training

ROUNDS = {"rounds": 2, "steps": 13}


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory) -> TinyRun:
    """A whole run whose prior was trained in two rounds. Look, do not touch."""
    return TinyRun.at(tmp_path_factory.mktemp("rounds"), prior=ROUNDS).all_stages()


def test_the_run_is_made_and_its_prior_says_how_it_was_trained(two_rounds):
    assert set(two_rounds.states().values()) == {"done"}
    facts = read_json(two_rounds.paths.prior_facts)
    assert (facts["steps"], facts["spec"]["rounds"]) == (13, 2)
    steps = [int(line.split(",")[0]) for line in two_rounds.paths.prior_losses.read_text().splitlines()[1:]]
    assert steps == [6, 13]
    denoiser, about = load_prior(two_rounds.paths.prior, "cpu")
    assert denoiser.n_condition == PriorSpec.model_validate(about["spec"]).n_condition == 11


def test_the_second_network_is_another_one_and_sees_the_slices_beside(two_rounds):
    first, _ = load_prior(two_rounds.paths.first_prior, "cpu")
    second, _ = load_prior(two_rounds.paths.prior, "cpu")
    assert first.n_condition == 5
    fold = second.network.fold
    slices = second.network.stem.weight[:, -(6 + 2) * fold : -2 * fold]
    assert slices.abs().max() > 0, "they were zero when the round began"


@pytest.mark.parametrize("at", ["the first round", "the second round", "between them"])
def test_an_interrupted_training_ends_with_the_same_bytes(two_rounds, tmp_path, monkeypatch, at):
    run = TinyRun.at(tmp_path, prior={**ROUNDS, "checkpoint_every_s": 1e-6})
    assert run.stage("plan") == 0
    stop_at = {"the first round": 2, "between them": 6, "the second round": 9}[at]
    done, train = 0, training.run_training

    def interrupted(state, spec, sampler, seed, save, progress, stop):
        def counted(current):
            nonlocal done
            done += 1
            save(current)
            if done == stop_at:
                raise KeyboardInterrupt
            progress(current)

        train(state, spec, sampler, seed, save, counted, stop)

    with monkeypatch.context() as patch:
        patch.setattr(training, "run_training", interrupted)
        assert run.stage("train") != 0
    assert done == stop_at
    assert run.paths.first_prior.exists() == (at == "the second round")
    assert run.stage("train") == 0
    assert run.paths.prior.read_bytes() == two_rounds.paths.prior.read_bytes()


def test_it_starts_from_the_prior_of_another_volume(two_rounds, tmp_path):
    source = {"path": "phantom:tissue?shape=48,64,64&seed=5", "simulate": {"factor": 4}}
    run = TinyRun.at(tmp_path, source=source, prior={**ROUNDS, "steps": 4, "init": str(two_rounds.paths.prior)})
    assert run.stage("plan") == 0
    assert run.stage("train") == 0
    assert not run.paths.first_prior.exists()
    facts = read_json(run.paths.prior_facts)
    assert facts["steps"] == 4
    assert facts["init_sha256"] == read_json(two_rounds.paths.prior_facts)["sha256"]


def test_parts_of_a_large_pool_are_spread_over_it_and_bounded(monkeypatch):
    monkeypatch.setattr(restoring, "RESTORED_VOX", 10 * 4 * 8 * 256 * 256)
    pool = [np.full((8, 512, 512), k, np.float32) for k in range(10)]
    parts = restoring._parts(pool, 4.0)
    assert {part.shape for part in parts} == {(8, 256, 256)}
    assert len(parts) == 10
    assert len({int(part[0, 0, 0]) for part in parts}) >= 6
    # No part is too small for the crops that patches are made of.
    odd = [np.zeros((8, 300, 390), np.float32)]
    assert all(min(part.shape[1:]) >= 190 for part in restoring._parts(odd, 4.0, 190))
    assert all(min(part.shape[1:]) >= 270 for part in restoring._parts(odd, 4.0, 270))
    small = [np.zeros((5, 64, 64), np.float32)]
    assert [part.shape for part in restoring._parts(small, 4.0)] == [(5, 64, 64)]


def test_what_is_restored_is_near_the_truth(finished):
    """Nearer than interpolation, or the second round would learn from nothing better."""
    from isofield.phantom import tissue_clean

    truth = finished.plan.contrast.normalise(tissue_clean((48, 64, 64)).astype(np.float32))
    model = MeasurementModel(4)
    sections = truth.reshape(12, 4, 64, 64).mean(axis=1)
    denoiser, about = load_prior(finished.paths.prior, "cpu")
    spec = PriorSpec.model_validate(about["spec"])
    (restored,) = restoring.restored_stacks([sections], denoiser, spec, model, next(denoiser.parameters()).device)
    assert restored.shape == truth.shape
    assert np.abs(restored.reshape(12, 4, 64, 64).mean(axis=1) - sections).mean() < 0.1 * np.abs(sections).mean()
