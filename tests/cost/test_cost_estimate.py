"""Estimates: right for what is known, growing with the volume, in time for volumes of any size."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
from cost_example import configured, laid_out, volume
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.cost.estimate import Estimate, Machines, duration, estimate, lines, size
from isofield.cost.rules import RUNTIME_MARGIN, START_S, asked_for, expected_speed
from isofield.speed import CPU_SPEED, GPU_SPEED

FOUR = Machines(4, 64)


def estimated(shape, voxel_nm=(40, 4, 4), dtype="uint8", machines=FOUR, **sections) -> Estimate:
    config = configured(**sections)
    layout = laid_out(config, shape, voxel_nm, dtype)
    return estimate(config, volume(shape, voxel_nm, dtype), layout, expected_speed(config, layout, machines.n_gpus > 0), machines)


GROWS = ("n_vox", "n_blocks", "gpu_hours", "fields_bytes", "image_bytes", "measured_bytes", "n_shards")
shapes = st.tuples(st.integers(2, 10**4), st.integers(64, 10**6), st.integers(64, 10**6))
ratios = st.fractions(1, 20, max_denominator=50)


@settings(max_examples=150)
@given(shapes, ratios, st.sampled_from(("uint8", "uint16", "float32")), st.integers(0, 2))
def test_a_larger_volume_costs_more_and_a_run_has_few_jobs(shape, ratio, dtype, axis):
    larger = tuple(2 * side if a == axis else side for a, side in enumerate(shape))
    one, two = (estimated(s, (ratio * 4, 4, 4), dtype) for s in (shape, larger))
    assert one.n_jobs <= two.n_jobs + 500 <= 2500
    assert two.n_jobs <= 2000
    assert [name for name in GROWS if not 0 < getattr(one, name) <= getattr(two, name)] == []
    assert one.n_vox == prod(one.shape)
    # Every voxel is in some job, and not in several.
    (fit,) = (rule for rule in one.rules if rule.rule == "fit")
    fitted = fit.n * (fit.seconds - START_S) * one.speed.fit_vox_per_s
    assert one.n_vox * 0.999 <= fitted <= max(2, fit.n) * one.blocks_per_job * prod(one.block_shape) * 1.001
    # The count of files is a formula of shards and jobs, whatever the number of blocks.
    assert one.n_files == 2 * one.n_image_shards + 10 * one.n_jobs + 80


def test_numbers_stay_exact_where_floating_point_would_not():
    found = estimated((5293, 440_001, 600_007), (33, 4, 4))
    assert found.n_vox == 43_668 * 440_001 * 600_007
    assert found.measured_bytes == 5293 * 440_001 * 600_007
    assert found.n_jobs < 2000


@pytest.mark.parametrize("n_blocks", [10**6, 10**8, 10**10])
def test_a_run_of_a_million_blocks_and_more_stays_below_two_thousand_jobs(n_blocks):
    side = round(n_blocks ** (1 / 3)) * 128
    found = estimated((side // 8, side, side), (32, 4, 4))
    assert found.n_blocks == pytest.approx(n_blocks, rel=0.02)
    assert 1000 < found.n_jobs < 2000
    # Negative control: with few blocks to a job there are many, and the estimate says so.
    many = estimated((side // 8, side, side), (32, 4, 4), fit={"blocks_per_job": 64})
    assert many.n_jobs > 15_000
    assert any("fit.blocks_per_job" in text for text in many.warnings())


def test_more_gpus_shorten_the_fit_and_nothing_else():
    one, eight = (estimated((1000, 8192, 8192), machines=Machines(n, 64)) for n in (1, 8))
    assert one.gpu_hours == eight.gpu_hours
    fit_s = next(jobs.n * jobs.seconds for jobs in one.rules if jobs.rule == "fit")
    assert one.wall_s - eight.wall_s == pytest.approx(fit_s * 7 / 8, rel=0.05)


def test_without_a_gpu_everything_is_a_processor_s_work():
    found = estimated((125, 1250, 1250), machines=Machines(0, 16))
    assert (found.gpu_hours, found.speed.device) == (0, "cpu")
    assert found.cpu_hours > 2 * found.n_vox / found.speed.fit_vox_per_s / 3600
    assert "GPUs" not in "\n".join(lines(found))


def test_where_speeds_come_from_is_said():
    assert "H200" in GPU_SPEED.basis
    assert "measured" in CPU_SPEED.basis
    text = "\n".join(lines(estimated((125, 1250, 1250))))
    assert GPU_SPEED.basis in text
    assert "assuming that it is stored in 0.95" in text


def test_memory_does_not_grow_with_the_volume_but_for_what_is_kept_per_block():
    small, large = (asked_for(c := configured(), laid_out(c, (n, 8 * n, 8 * n), (32, 4, 4)), "uint8") for n in (128, 256))
    for rule in ("train", "fit", "blend", "pyramid"):
        assert large[rule].bytes <= 1.001 * small[rule].bytes, rule
    assert 0 < large["measure"].bytes - small["measure"].bytes < 2048 * 8 * 16**3


def test_training_in_two_rounds_costs_what_it_restores():
    config = configured()
    layout = laid_out(config, (128, 1024, 1024), (32, 4, 4))
    one = config.model_copy(update={"prior": config.prior.model_copy(update={"rounds": 1})})
    (two, single) = (asked_for(c, layout, "uint8")["train"] for c in (config, one))
    # A part of 2^24 voxels at work, and 2^26 that are kept.
    assert 1.1e9 < two.bytes - single.bytes < 1.4e9
    assert two.seconds > single.seconds + 20


def test_jobs_ask_for_more_than_they_are_expected_to_take():
    config = configured()
    layout = laid_out(config, (1000, 8192, 8192))
    asked = asked_for(config, layout, "uint8")
    for jobs in asked.values():
        assert jobs.mem_mb > jobs.bytes / 1e6
        assert jobs.runtime_min * 60 >= RUNTIME_MARGIN * jobs.seconds
        assert jobs.runtime_min >= 20
    # Where it is left open what a job runs on, it asks for as long as a processor takes.
    cuda = config.model_copy(update={"run": config.run.model_copy(update={"device": "cuda"})})
    assert (asked["fit"].on_gpu, asked_for(cuda, layout, "uint8")["fit"].on_gpu) == (False, True)
    assert asked["fit"].seconds > asked_for(cuda, layout, "uint8")["fit"].seconds


def test_a_job_that_no_cluster_would_run_is_warned_of():
    assert estimated((125, 1250, 1250)).warnings() == []
    found = estimated((5293, 440_000, 600_000), (33, 4, 4))
    (warning,) = found.warnings()
    assert "more than a day" in warning
    assert "fit 24.6 d" in warning
    fast = replace(found.speed, fit_vox_per_s=1e12)
    config = configured()
    layout = laid_out(config, (5293, 440_000, 600_000), (33, 4, 4))
    again = estimate(config, volume((5293, 440_000, 600_000), (33, 4, 4)), layout, fast, FOUR)
    assert "fit" not in again.warnings()[0]


def test_numbers_are_said_in_fitting_units():
    assert [size(n) for n in (12, 999_600, 1.5e9, 1.4e15)] == ["12 B", "1 MB", "1.5 GB", "1.4 PB"]
    assert [duration(s) for s in (90, 150, 7300, 200_000)] == ["90 s", "2.5 min", "2.0 h", "2.3 d"]
