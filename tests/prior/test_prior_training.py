"""Training: it learns, it can be killed anywhere, and what it leaves on disk is numbers and words."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy import ndimage

from isofield.errors import InputError
from isofield.measurement import MeasurementModel
from isofield.prior.checkpoint import load_prior, pack_prior, pack_training, resume_training
from isofield.prior.patches import LateralDegradation, PatchSampler
from isofield.prior.spec import PriorSpec
from isofield.prior.training import initial_state, learning_rate, run_training, train

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SPEC = PriorSpec(rounds=1, channels=(8, 8), steps=60, batch=8, patch_vox=16, warmup_steps=5, learning_rate=5e-3)


@pytest.fixture(scope="module")
def sampler():
    """Stripes: blurred along one axis they can be told from what is left, so there is something to learn.

    They move by a voxel from section to section.
    """
    y, x = np.mgrid[:96, :104]
    stripes = np.sign(np.sin(2 * np.pi * (x + y) / 7)) + np.sign(np.sin(2 * np.pi * (x - 2 * y) / 31))
    section = ndimage.gaussian_filter(stripes, 0.7).astype(np.float32) / 2
    stack = np.stack([section[:, k : k + 96] for k in range(6)])
    return PatchSampler([stack], LateralDegradation(MeasurementModel(Fraction(4)), 16), 3, SPEC.neighbours)


def trained(sampler, spec=SPEC, until=None, state=None):
    state = state or initial_state(spec, sampler, 3, CPU)
    if until is None or state.step < until:
        for current in train(state, spec, sampler, 3):
            if current.step == until:
                break
    return state


def weights(state):
    """All numbers of a state, by name."""
    names = {f"now/{k}": v for k, v in state.denoiser.state_dict().items()}
    return names | {f"average/{k}": v for k, v in state.average.state_dict().items()}


def test_the_loss_falls(sampler):
    state = trained(sampler)
    assert [step for step, _, _ in state.losses] == [20, 40, 60]
    assert state.losses[-1][1] < 0.9 * state.losses[0][1]
    # 1.0 is what interpolation alone achieves.
    assert state.losses[-1][2] < 0.95


def test_without_steps_of_any_size_the_loss_stays(sampler):
    """Negative control."""
    state = trained(sampler, SPEC.model_copy(update={"learning_rate": 1e-12}))
    assert state.losses[-1][1] > 0.9 * state.losses[0][1]


def test_the_spreads_are_those_of_the_patches(sampler):
    state = initial_state(SPEC, sampler, 3, CPU)
    batch = sampler.batch(0, 256)
    assert state.denoiser.sigma_data == pytest.approx(float(batch.clean.std()), rel=0.05)
    residual = float(np.sqrt(np.square(batch.clean - batch.condition[:, :1]).mean()))
    assert state.denoiser.sigma_residual == pytest.approx(residual, rel=0.05)


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(SPEC, step) for step in range(SPEC.steps + 1)]
    assert max(rates) <= SPEC.learning_rate
    assert np.argmax(rates) in (4, 5)
    assert rates[0] < 0.25 * SPEC.learning_rate
    assert rates[-1] == 0.0


@pytest.mark.parametrize("k", [1, 13, 20])
def test_resuming_is_bit_identical_to_never_stopping(sampler, tmp_path, k):
    spec = SPEC.model_copy(update={"steps": 30})
    whole = trained(sampler, spec)
    path = tmp_path / "training.safetensors"
    path.write_bytes(pack_training(trained(sampler, spec, until=k), "mark"))
    torch.manual_seed(99)  # whatever else the process drew
    resumed = resume_training(path, "mark", spec, CPU)
    assert resumed.step == k
    trained(sampler, spec, state=resumed)
    expected = weights(whole)
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    assert resumed.losses == whole.losses
    assert [step for step, _, _ in whole.losses] == [20, 30]


def test_forgetting_the_moments_would_show(sampler, tmp_path):
    """Negative control: weights alone are not a state to go on from."""
    spec = SPEC.model_copy(update={"steps": 30})
    path = tmp_path / "training.safetensors"
    path.write_bytes(pack_training(trained(sampler, spec, until=13), "mark"))
    resumed = resume_training(path, "mark", spec, CPU)
    resumed.optimiser.state.clear()
    trained(sampler, spec, state=resumed)
    expected = weights(trained(sampler, spec))
    assert any(not torch.equal(value, expected[name]) for name, value in weights(resumed).items())


def test_forgetting_the_losses_of_the_steps_before_would_show(sampler, tmp_path):
    """Negative control: entries of the log are means over steps on both sides of an interruption."""
    spec = SPEC.model_copy(update={"steps": 30})
    path = tmp_path / "training.safetensors"
    path.write_bytes(pack_training(trained(sampler, spec, until=13), "mark"))
    resumed = resume_training(path, "mark", spec, CPU)
    assert len(resumed.running) == 13
    resumed.running.clear()
    trained(sampler, spec, state=resumed)
    whole = trained(sampler, spec).losses
    assert resumed.losses[0] != whole[0]
    assert resumed.losses[1] == whole[1]


def test_only_the_same_training_resumes(sampler, tmp_path):
    path = tmp_path / "training.safetensors"
    assert resume_training(path, "mark", SPEC, CPU) is None
    path.write_bytes(pack_training(trained(sampler, until=2), "mark"))
    assert resume_training(path, "mark", SPEC, CPU).step == 2
    assert resume_training(path, "another", SPEC, CPU) is None


def test_a_damaged_state_is_no_state(sampler, tmp_path):
    path = tmp_path / "training.safetensors"
    data = pack_training(trained(sampler, until=1), "mark")
    for damaged in (data[: len(data) // 2], data[:5], b"", b"\x00" * 64, b"not a checkpoint at all"):
        path.write_bytes(damaged)
        assert resume_training(path, "mark", SPEC, CPU) is None


def test_states_are_saved_on_the_way_and_at_the_end(sampler):
    saved, seen = [], []
    state = initial_state(SPEC, sampler, 3, CPU)
    spec = SPEC.model_copy(update={"steps": 4, "checkpoint_every_s": 1e-9})
    run_training(state, spec, sampler, 3, lambda s: saved.append(s.step), lambda s: seen.append(s.step))
    assert seen == [1, 2, 3, 4]
    assert saved == [1, 2, 3, 4, 4]


def test_a_loss_that_is_not_finite_stops_the_training(sampler):
    state = initial_state(SPEC, sampler, 3, CPU)
    with torch.no_grad():
        state.denoiser.network.head.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="loss is nan"):
        trained(sampler, state=state)


# --- the finished prior on disk ---


@pytest.fixture(scope="module")
def finished(sampler):
    return trained(sampler, until=3)


def test_a_prior_comes_back_as_it_was(finished, sampler, tmp_path):
    path = tmp_path / "prior.safetensors"
    path.write_bytes(pack_prior(finished.average, SPEC, {"fingerprint": "f", "steps": 3}))
    loaded, about = load_prior(path, CPU)
    assert (about["fingerprint"], about["steps"]) == ("f", 3)
    assert (loaded.sigma_data, loaded.sigma_residual) == (finished.average.sigma_data, finished.average.sigma_residual)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    condition = torch.from_numpy(sampler.batch(0, 2).condition)
    level = torch.full((2,), torch.inf)
    assert torch.equal(loaded(None, level, condition), finished.average(None, level, condition))
    assert not torch.equal(loaded(None, level, condition), finished.denoiser(None, level, condition))


def test_equal_priors_are_equal_bytes(finished):
    assert pack_prior(finished.average, SPEC, {"a": 1, "b": 2}) == pack_prior(finished.average, SPEC, {"b": 2, "a": 1})


def test_how_often_states_were_saved_leaves_no_trace(finished):
    """Fields depend on these bytes: saving more often must not make them all anew."""
    often = SPEC.model_copy(update={"checkpoint_every_s": 1.0})
    assert pack_prior(finished.average, SPEC, {}) == pack_prior(finished.average, often, {})
    other = SPEC.model_copy(update={"steps": 61})
    assert pack_prior(finished.average, SPEC, {}) != pack_prior(finished.average, other, {})


def test_a_damaged_prior_is_named(finished, tmp_path):
    path = tmp_path / "prior.safetensors"
    data = pack_prior(finished.average, SPEC, {})
    for damaged in (data[: len(data) // 2], data[:5], b"", b"PK\x03\x04 a zip file, as torch.save writes it"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"prior\.safetensors.*Delete it and train again"):
            load_prior(path, CPU)
    with pytest.raises(InputError, match="absent"):
        load_prior(tmp_path / "absent", CPU)


def test_a_flipped_bit_in_a_weight_or_a_word_is_noticed(finished, tmp_path):
    path, training = tmp_path / "prior.safetensors", tmp_path / "training.safetensors"
    data, state = bytearray(pack_prior(finished.average, SPEC, {"steps": 61})), bytearray(pack_training(finished, "mark"))
    path.write_bytes(data)
    load_prior(path, CPU)
    for content, at in ((data, -9), (data, data.index(b"steps") + 10), (state, -9)):
        content[at] ^= 1
        path.write_bytes(data)
        training.write_bytes(state)
        if content is data:
            with pytest.raises(InputError, match=r"checksum|cannot be read"):
                load_prior(path, CPU)
        else:
            assert resume_training(training, "mark", SPEC, CPU) is None
        content[at] ^= 1


def test_a_training_state_is_not_a_prior(finished, tmp_path):
    path = tmp_path / "prior.safetensors"
    path.write_bytes(pack_training(finished, "mark"))
    with pytest.raises(InputError, match="prior checkpoint"):
        load_prior(path, CPU)


def test_there_is_no_pickle_in_the_bytes(finished, tmp_path):
    for data in (pack_prior(finished.average, SPEC, {}), pack_training(finished, "mark")):
        path = tmp_path / "file.safetensors"
        path.write_bytes(data)
        # Header length, JSON, raw numbers, and not a byte more.
        with safe_open(path, framework="pt") as file:
            n = sum(file.get_tensor(key).numel() * file.get_tensor(key).element_size() for key in file.keys())  # noqa: SIM118
        assert len(data) == 8 + int.from_bytes(data[:8], "little") + n
