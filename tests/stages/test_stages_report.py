"""What the report says of a run: maps and words against what is on disk."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaozarrs

from isofield.geometry import ZYX, Roi
from isofield.omezarr.reading import read_region
from isofield.phantom import tissue
from isofield.records import read_json, write_json
from isofield.stages import report_words as words
from isofield.stages.measuring import Measurer
from isofield.stages.report_images import cubes, histograms, slices
from isofield.stages.report_maps import write_map
from isofield.stages.reporting import label_names

SHAPE = (48, 64, 64)


@pytest.fixture
def measurer(run) -> Measurer:
    return Measurer(run.config, run.plan, run.paths)


def image(run) -> np.ndarray:
    return read_region(run.paths.isotropic, 0, Roi((0, 0, 0), SHAPE)).astype(float)


def contrast(run) -> float:
    return run.plan.intensity["high"] - run.plan.intensity["low"]


def test_the_map_of_errors_is_that_of_the_image(run):
    path = run.paths.root / "error.ome.zarr"
    yaozarrs.validate_zarr_store(str(path))
    levels = read_region(path, 0, Roi((0, 0, 0), SHAPE))
    expected = 1000 * np.abs(image(run) - tissue(SHAPE)) / contrast(run)
    assert np.abs(levels - expected).max() <= 0.51
    assert levels.std() > 10


def test_the_map_of_residuals_is_that_of_the_sections(run, measurer):
    measurer.truth = None
    assert write_map(run.config, run.paths, run.plan, measurer, ZYX(24, 32, 32)) == "residual"
    levels = read_region(run.paths.root / "residual.ome.zarr", 0, Roi((0, 0, 0), (12, 64, 64)))
    sections = np.rint(tissue(SHAPE).reshape(12, 4, 64, 64).mean(axis=1))
    expected = 1000 * np.abs(image(run).reshape(12, 4, 64, 64).mean(axis=1) - sections) / contrast(run)
    assert np.abs(levels - expected).max() <= 0.51
    rms = np.sqrt(np.square(expected / 1000).mean())
    assert rms == pytest.approx(run.metrics()["residual_rms"], rel=0.01)


@pytest.mark.parametrize(("ratio", "said"), [("4", "4 times finer along z"), ("97/100", "no finer along z"), ("1", "no finer")])
def test_the_summary_claims_no_gain_where_there_is_none(run, measurer, ratio, said):
    plan = measurer.plan.model_copy(update={"ratio": ratio})
    assert said in words.summary(plan, run.metrics())[0]


def test_a_large_map_is_made_around_the_place_alone(run, measurer):
    small = run.changed(report={"max_map_vox": 24**3})
    write_map(small.config, run.paths, run.plan, measurer, ZYX(24, 32, 50))
    group = json.loads((run.paths.root / "error.ome.zarr" / "zarr.json").read_text())
    (level,) = group["attributes"]["ome"]["multiscales"][0]["datasets"]
    assert json.loads((run.paths.root / "error.ome.zarr" / "0" / "zarr.json").read_text())["shape"] == [24, 24, 24]
    assert level["coordinateTransformations"][1]["translation"] == [8 * 12.5, 8 * 20.5, 8 * 38.5]


def test_slices_and_cubes_are_cut_from_the_volume(run, measurer):
    shown = {(s.plane, s.index): s.images for s in slices(run.config, measurer, ZYX(24, 32, 32))}
    assert {plane for plane, _ in shown} == {"XY", "ZX", "ZY"}
    images = shown["ZX", 32]
    assert np.array_equal(images["isotropic"], image(run)[:, 32])
    assert np.array_equal(images["truth"], tissue(SHAPE)[:, 32])
    sections = np.rint(tissue(SHAPE).reshape(12, 4, 64, 64).mean(axis=1))[:, 32]
    assert np.array_equal(images["measured"], np.repeat(sections, 4, axis=0))
    assert images["residual"].shape == images["isotropic"].shape
    small = run.changed(report={"cube_vox": 32})
    first, *_ = cubes(small.config, measurer, ZYX(10, 40, 32), pd.read_parquet(run.paths.block_metrics))
    assert first.shape == (32, 32, 32)
    assert np.array_equal(first.planes["isotropic"], image(run)[tuple(slice(o, o + 32) for o in first.offset)])


def test_histograms_hold_every_voxel(measurer):
    edges, shares = histograms(measurer)
    assert set(shares) == {"measured", "isotropic", "truth"}
    assert all(share.sum() == pytest.approx(1) for share in shares.values())
    assert (np.diff(edges) == np.diff(edges)[0]).all()
    assert (edges % 1 == 0.5).all(), "a bin that splits a grey value makes a comb"


def test_labels_are_found_where_there_are_any(run):
    shutil.rmtree(run.paths.isotropic / "labels", ignore_errors=True)
    assert label_names(run.paths) == []
    write_json(run.paths.isotropic / "labels" / "zarr.json", {"attributes": {"ome": {"labels": ["origin"]}}})
    assert label_names(run.paths) == ["origin"]


def test_resolution_and_seams_are_in_the_metrics(run):
    metrics = run.metrics()
    assert 16 <= metrics["fsc"]["isotropic_axial"]["resolution_nm"] < 200
    assert metrics["fsc"]["isotropic_lateral"]["resolution_nm"] <= metrics["fsc"]["isotropic_axial"]["resolution_nm"]
    for axis, profile in metrics["seam_profile"].items():
        at_face = profile["step_ratio"][profile["distance_vox"].index(0)]
        assert at_face == pytest.approx(metrics["seam_score_by_axis"][axis])
        assert len(profile["distance_vox"]) == len(profile["step_ratio"]) > 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"residual_rms": 0.2}, "differs from its own sections by 20 %"),
        ({"seam_score": 1.3}, "1.30 times as rough"),
        ({"clipped_fraction": 0.01}, "1.00 % of the voxels were clipped"),
        ({"isotropic": {"psnr_db": 5.0}}, "do not use it"),
        ({"spectral_ratio": {"isotropic": 1.16}}, "Fine detail along z has 116 % of the power"),
    ],
)
def test_what_is_wrong_is_said_and_what_is_right_is_not(run, changes, says):
    blocks = pd.read_parquet(run.paths.block_metrics)
    good = {**run.metrics(), "residual_rms": 0.01, "seam_score": 1.0, "clipped_fraction": 0.0}
    good |= {"isotropic": {"psnr_db": 99.0}, "spectral_ratio": {"isotropic": 0.9}}
    config = run.changed(prior={"steps": 4000}).config
    assert words.warnings(config, run.plan, good, blocks, 0.01) == []
    (warning,) = words.warnings(config, run.plan, {**good, **changes}, blocks, 0.01)
    assert says in warning


def test_noise_of_the_sections_is_no_contradiction():
    metrics = {"residual_rms": 0.096, "residual_rms_cubic": 0.082, "seam_score": 1.0, "spectral_ratio": {}}
    assert "agrees with the sections to 9.6 %" in words.verdict(metrics, 0.1)
    assert "contradicts the sections, by 9.6 %" in words.verdict(metrics, 0.02)


def test_times_and_memory_are_those_of_the_benchmark_files(run):
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    run.paths.benchmarks.mkdir()
    for name, row in {
        "train": "10.0\t0:00:10\t500.0\t1\t1\t1\t1\t1\t1\t9.0",
        "fit-0": "20.0\t0:00:20\t300.0\t1\t1\t1\t1\t1\t1\t19.0",
        "fit-1": "30.0\t0:00:30\t400.0\t1\t1\t1\t1\t1\t1\t29.0",
        "tidy": "1.0\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-",
        "finish": "1.0\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-",
    }.items():
        (run.paths.benchmarks / f"{name}.tsv").write_text(header + row + "\n")
    rows = {row.name: row for row in words.stages(run.config, run.paths, run.plan)}
    assert list(rows) == ["train", "fit", "finish"]
    assert (rows["fit"].n_jobs, rows["fit"].seconds, rows["fit"].cpu_s, rows["fit"].peak_bytes) == (2, 50.0, 48.0, 400e6)
    assert rows["fit"].promised_bytes == run.plan.projected["fit_job_bytes"]
    assert np.isnan(rows["finish"].peak_bytes)
    text = " ".join(words.cost(run.plan, list(rows.values()), 2e6, 48 * 64 * 64))
    assert "61 s" in text or "1 min 1 s" in text
    assert "2 MB" in text


def test_the_report_needs_no_source_for_its_times(run):
    gone = dataclasses.replace(run, config=run.changed(source={"path": "no/such/file.tif", "simulate": None}).config)
    assert words.stages(gone.config, run.paths, run.plan) == []
    assert read_json(run.paths.metrics)
