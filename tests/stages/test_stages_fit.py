"""The fit stage: does what is missing and nothing else, loses one block at most, and answers to its fingerprint."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from tiny_run import TinyRun, times

from isofield.fieldstore import FieldStore
from isofield.source import open_source
from isofield.stages import fitting
from isofield.stages.blocks_io import MeasuredBlocks, block_seed

BROKEN = 5


def records(run):
    return {i: run.store.read(i) for i in range(run.plan.n_blocks)}


def without_fields(run):
    """The run as it was before its first fit."""
    for path in [*run.store.folder.iterdir(), *run.paths.root.glob("jobs/fit-*.json")]:
        path.unlink()
    return run


def test_fitting_again_does_nothing(run):
    before, done = times(run.store.folder), run.fields()
    assert len(done) == 8
    assert run.stage("fit") == 0
    assert times(run.store.folder) == before
    assert run.fields() == done


@pytest.mark.parametrize("damage", ["pack deleted", "pack cut", "bit flipped", "table damaged"])
def test_what_is_lost_is_fitted_again_to_the_same_bytes(run, damage):
    done, packs = run.fields(), sorted(run.store.folder.glob("*.pack"))
    other, pack = times(run.store.folder)[packs[0].name], packs[1]
    data = bytearray(pack.read_bytes())
    lost = {"pack deleted": 4, "pack cut": 1, "bit flipped": 1, "table damaged": 4}[damage]
    {
        "pack deleted": pack.unlink,
        "pack cut": lambda: pack.write_bytes(data[:-7]),
        "bit flipped": lambda: pack.write_bytes(data[:-1] + bytes([data[-1] ^ 1])),
        "table damaged": lambda: pack.write_bytes(data[:20] + b"?" + data[21:]),
    }[damage]()
    assert len(run.fields()) == 8 - lost
    assert run.stage("fit") == 0
    assert run.fields() == done
    after = times(run.store.folder)
    assert sorted(after) == [path.name for path in packs], "what lay loose in the meantime is packed"
    assert after[packs[0].name] == other
    # No more was fitted than was lost: the other records say when they were made.
    assert json.loads(run.paths.fit_job(1).read_bytes())["states"] == {"done": 4}


def test_blocks_lie_loose_until_their_job_is_complete(run, finished, monkeypatch):
    """As a job that is killed leaves them; a record whose field is gone is no block."""
    without_fields(run)
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "load_prior", breaking(run, BROKEN))
        assert run.stage("fit", 1) == 1
    names = sorted(path.name for path in run.store.folder.iterdir())
    assert [n for n in names if n.endswith(".safetensors")] == [f"block-{i:06d}.safetensors" for i in (4, 6, 7)]
    run.store.loose.payload_path(6).unlink()
    seen = []
    publish = FieldStore.publish

    def remembered(store, record, payload):
        seen.append(record.block_id)
        return publish(store, record, payload)

    monkeypatch.setattr(FieldStore, "publish", remembered)
    assert run.stage("fit", 1) == 0
    assert seen == [5, 6]
    assert [path.name for path in run.store.folder.iterdir()] == ["blocks-0000004-0000008.pack"]
    assert {i: d for i, d in finished.fields().items() if i >= 4} == run.fields()


def test_a_job_under_way_never_has_more_than_a_portion_of_its_blocks_loose(run, finished, monkeypatch):
    """Nor does one that was killed and goes on, with what its predecessor left."""
    without_fields(run)
    monkeypatch.setattr(fitting, "PORTION_BLOCKS", 2)
    most, seen = 0, []
    publish = FieldStore.publish

    def counted(store, record, payload):
        nonlocal most
        done = publish(store, record, payload)
        seen.append(record.block_id)
        most = max(most, len(list(store.folder.glob("block-*.json"))))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(FieldStore, "publish", counted)
    with suppress(KeyboardInterrupt):
        run.stage("fit", 0)
    assert sorted(path.name for path in run.store.folder.glob("blocks-*")) == ["blocks-0000000-0000002.pack"]
    for job in (0, 1):
        assert run.stage("fit", job) == 0
    assert sorted(seen) == list(range(8)), "nothing is fitted twice"
    assert most == 2
    assert len(list(run.store.folder.iterdir())) == 2
    assert run.fields() == finished.fields()


def test_jobs_in_any_order_fit_the_same_fields(run, finished):
    without_fields(run)
    for job in (1, 0):
        assert run.stage("fit", job) == 0
        record = json.loads(run.paths.fit_job(job).read_bytes())
        assert record["states"] == {"done": 4}
        assert record["pack"]["file"] == f"blocks-{4 * job:07d}-{4 * job + 4:07d}.pack"
    assert run.fields() == finished.fields()


def test_blocks_fitted_together_are_the_same_bytes(run, finished):
    assert without_fields(run).changed(fit={"batch_blocks": 4}).stage("fit") == 0
    assert run.fields() == finished.fields()


def test_blocks_with_texture_are_the_same_bytes_in_any_batch_and_others_than_without(run, finished):
    """A draw from the posterior: its noise is the run's, not the batch's."""
    drawn = run.changed(fit={"detail": 1.0})
    assert drawn.stage("plan") == 0
    assert drawn.stage("fit") == 0
    fields = drawn.fields()
    assert all(data != finished.fields()[name] for name, data in fields.items())
    for path in [*drawn.store.folder.iterdir(), *drawn.paths.root.glob("jobs/fit-*.json")]:
        path.unlink()
    assert drawn.changed(fit={"batch_blocks": 4}).stage("fit") == 0
    assert drawn.fields() == fields


def test_neighbours_are_those_the_prior_was_trained_with(tmp_path):
    """The fit is not told of prior.neighbours: what the prior looks at is written in its file."""
    run = TinyRun.at(tmp_path, prior={"neighbours": 0})
    for stage in ("plan", "train", "fit"):
        assert run.stage(stage) == 0
    assert set(run.states().values()) == {"done"}


def test_a_record_says_after_how_many_steps_its_field_was_left_as_it_was(run, finished):
    assert {record.stats["steps"] for record in records(finished).values()} == {8}
    early = run.changed(fit={"steps": 40, "stop_below": 0.9})
    assert early.stage("fit") == 0
    for record in records(early).values():
        assert (record.state, record.stats["steps"]) == ("done", 16)
        assert 0 < record.stats["loss_last"] < 10 * record.stats["loss_first"]
    # Negative control: were no field ever to stop, all steps would be taken.
    patient = run.changed(fit={"mode": "sds", "steps": 18, "stop_below": 0.9})
    assert patient.stage("fit") == 0
    assert {record.stats["steps"] for record in records(patient).values()} == {18}


def test_a_job_that_is_not_there_is_named(run, capsys):
    assert run.stage("fit", 2) == 2
    assert "the plan has jobs 0 to 1" in capsys.readouterr().err


# --- one block that cannot be fitted ---


def breaking(run, index, first_calls=None):
    """`load_prior` whose denoiser answers NaN on the slices of one block, always or for its first few calls."""
    block = MeasuredBlocks(open_source(run.config.source), run.plan).block(index, 0, 1, noisy=False)
    # Neighbours share slices; the first ZX slice of its field belongs to this block alone, and a call that begins with it to
    # its targets.
    first = np.ascontiguousarray(block.base[:, block.inner[0]]).tobytes()
    n_hit = 0

    def load(path, device):
        denoiser, facts = load_prior(path, device)

        def denoise(x, sigma, condition):
            nonlocal n_hit
            answer = denoiser(x, sigma, condition)
            if condition[0, 0].contiguous().numpy().tobytes() == first:
                n_hit += 1
                if first_calls is None or n_hit <= first_calls:
                    return torch.full_like(answer, torch.nan)
            return answer

        return denoise, facts

    load_prior = fitting.load_prior
    return load


@pytest.mark.parametrize("batch_blocks", [1, 4])
def test_a_block_that_fails_costs_no_other(run, finished, monkeypatch, capsys, batch_blocks):
    without_fields(run)
    run_in_batches = run.changed(fit={"batch_blocks": batch_blocks})
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "load_prior", breaking(run, BROKEN))
        assert run_in_batches.stage("fit") == 1
    assert "1 of 4 blocks failed (5)" in capsys.readouterr().err
    found = records(run)
    assert (found[BROKEN].state, found[BROKEN].attempts) == ("failed", 2)
    assert "diverged in 2 attempts" in found[BROKEN].message
    assert {i for i, record in found.items() if record.state == "done"} == set(range(8)) - {BROKEN}
    assert not run.store.loose.payload_path(BROKEN).exists()
    assert run.fields() == {i: data for i, data in finished.fields().items() if i != BROKEN}
    # The job of the failed block has no record; the other job has.
    assert [run.paths.fit_job(job).exists() for job in (0, 1)] == [True, False]
    # Nobody blends what is not there.
    assert run.stage("blend") == 2
    assert "block: 5: has no finished field" in capsys.readouterr().err
    # Once the cause is gone, just that block is fitted, to the bytes it would have had at once.
    kept = {i: record.seconds for i, record in found.items() if i != BROKEN}
    assert run.stage("fit") == 0
    assert {i: record.seconds for i, record in records(run).items() if i != BROKEN} == kept
    assert run.fields() == finished.fields()


def test_a_block_that_fails_once_is_tried_again(run, finished, monkeypatch):
    without_fields(run)
    monkeypatch.setattr(fitting, "load_prior", breaking(run, BROKEN, first_calls=1))
    assert run.stage("fit") == 0
    assert {i: record.attempts for i, record in records(run).items()} == {i: 2 if i == BROKEN else 1 for i in range(8)}
    # The second attempt took smaller steps, so its field is another one; all others are as ever.
    assert {i for i, data in run.fields().items() if data != finished.fields()[i]} == {BROKEN}


# --- the fingerprint ---


@pytest.mark.parametrize(
    "change",
    [{"fit": {"steps": 3}}, {"fit": {"mode": "sds", "steps": 2}}, {"field": {"hidden": 4}}, {"run": {"seed": 7}}],
    ids=str,
)
def test_what_a_field_depends_on_makes_it_another_one(run, finished, change):
    other = run.changed(**change)
    assert other.stage("fit") == 0
    assert other.store.fingerprint != finished.store.fingerprint
    assert set(other.states().values()) == {"done"}
    assert other.fields() != finished.fields()
    # The earlier fit is still there, so going back costs nothing.
    folder = run.paths.fields / finished.store.fingerprint[:16]
    before = times(folder)
    assert run.stage("fit") == 0
    assert run.store.fingerprint == finished.store.fingerprint
    assert times(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"report": {"title": "Another title"}},
        {"quality": {"seam_reach_vox": 20}},
        {"fit": {"max_attempts": 5, "batch_blocks": 2}},
        {"output": {"compression_level": 9}},
        {"run": {"memory_gb": 3.0}},
    ],
    ids=str,
)
def test_what_a_field_does_not_depend_on_refits_nothing(run, change):
    before = times(run.store.folder)
    other = run.changed(**change)
    assert other.stage("plan") == 0
    assert other.stage("fit") == 0
    assert other.store.fingerprint == run.store.fingerprint
    assert times(run.store.folder) == before


def test_another_prior_is_another_fit(run):
    before = run.store.fingerprint
    assert run.changed(prior={"steps": 3}).stage("train") == 0
    assert run.stage("fit") == 0
    assert run.store.fingerprint != before


def test_training_again_goes_on_where_it_stopped(run, finished, capsys):
    assert run.stage("train") == 0
    assert "goes on from step 10" in capsys.readouterr().err
    assert run.paths.prior.read_bytes() == finished.paths.prior.read_bytes()


def test_blocks_have_seeds_of_their_own():
    seeds = [block_seed(seed, index) for seed in range(20) for index in range(200)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert block_seed(3, 4) == block_seed(3, 4)
