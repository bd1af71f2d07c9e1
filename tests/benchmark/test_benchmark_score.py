"""The figures of a row: right where they are known, and moved by what they are meant to see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from isofield.benchmark.quality import SHOWN, markdown
from isofield.benchmark.score import cubes, score
from isofield.plan import Plan

SHAPE, FACTOR, VOXEL_NM = (64, 64, 64), 4, 10.0


@pytest.fixture(scope="module")
def truth():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.5)
    return np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sections(truth):
    return truth.reshape(-1, FACTOR, *SHAPE[1:]).mean(axis=1)


@pytest.fixture(scope="module")
def plan():
    return Plan(
        made_from="",
        run_name="score",
        source={},
        ratio=str(FACTOR),
        operator="section",
        fwhm_vox=None,
        roi=((0, 0, 0), (SHAPE[0] // FACTOR, *SHAPE[1:])),
        voxel_size_nm=VOXEL_NM,
        origin_nm=(0.0, 0.0, 0.0),
        shape=SHAPE,
        dtype="uint8",
        intensity={"low": 28.0, "high": 228.0},
        grid={"core": SHAPE, "context": (0, 0, 0), "margin": (0, 0, 0)},
        overlap_vox=0,
        n_blocks=1,
        n_empty_blocks=0,
        n_fit_jobs=1,
        n_blend_jobs=1,
        n_shards=1,
        shard_vox=64,
        has_truth=True,
        projected={},
        fingerprints={},
    )


def test_truth_itself_gets_perfect_figures(truth, sections, plan):
    row = score(truth, truth, sections, plan)
    assert row["psnr_db"] == np.inf
    assert row["ssim"] == pytest.approx(1)
    assert row["fsc_axial_0.143_nm"] == row["fsc_lateral_0.143_nm"] == pytest.approx(2 * VOXEL_NM)
    assert row["jitter_zx_nm"] == row["wobble_zy_nm"] == 0
    assert row["residual_rms"] == pytest.approx(0, abs=1e-9)


def test_a_known_error_gives_a_known_psnr(truth, sections, plan):
    wrong = truth.astype(np.float64) + np.where(np.indices(SHAPE).sum(axis=0) % 2, 5.0, -5.0)
    assert score(wrong, truth, sections, plan)["psnr_db"] == pytest.approx(20 * np.log10(255 / 5), abs=1e-6)


def test_blur_along_z_is_seen_along_z_and_not_across(truth, sections, plan):
    blurred = ndimage.gaussian_filter1d(truth.astype(float), 3.0, axis=0)
    row, sharp = score(blurred, truth, sections, plan), score(truth, truth, sections, plan)
    assert row["fsc_axial_0.5_nm"] > 1.5 * row["fsc_lateral_0.5_nm"]
    assert row["power_ratio_2"] < 0.2 * sharp["power_ratio_2"]
    assert row["residual_rms"] > 0.01
    # Negative control: the same blur across y leaves the axial figures better than the lateral ones.
    across = score(ndimage.gaussian_filter1d(truth.astype(float), 3.0, axis=1), truth, sections, plan)
    assert across["power_ratio_2"] > sharp["power_ratio_2"]


def test_slices_shifted_one_by_one_are_seen_as_jitter(truth, sections, plan):
    rng = np.random.default_rng(1)
    shifted = np.stack(
        [ndimage.shift(truth[:, y].astype(float), (rng.normal(0, 0.3), 0), order=1, mode="nearest") for y in range(SHAPE[1])],
        axis=1,
    )
    row = score(shifted, truth, sections, plan)
    assert row["wobble_zx_nm"] > 2
    assert row["wobble_zx_nm"] > 3 * row["wobble_zy_nm"]


def test_cubes_do_not_overlap_and_lie_inside():
    places = cubes((70, 130, 64), 32)
    count = np.zeros((70, 130, 64), int)
    for place in places:
        count[place] += 1
    assert len(places) == 2 * 4 * 2
    assert count.max() == 1
    assert count.sum() == len(places) * 32**3


def test_the_markdown_table_holds_every_shown_column(truth, sections, plan):
    import pandas as pd

    costs = {"train_s": 1.0, "reconstruct_s": 2.0, "mvoxel_per_s": 3.0, "peak_memory_gb": 0.5}
    row = {"factor": 4.0, "method": "truth", **score(truth, truth, sections, plan), **costs}
    text = markdown(pd.DataFrame([row, row]))
    header, rule, *lines = text.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == list(SHOWN)
    assert len(lines) == 2
    assert len({len(line) for line in (header, rule, *lines)}) == 1
