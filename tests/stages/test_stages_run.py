"""A whole run: every file that is promised, in the words that are promised, made from what each stage declares to read."""

from __future__ import annotations

import json

import numpy as np
import ome_zarr_models.v05
import pandas as pd
import pytest
import yaozarrs
import zarr
from tiny_run import TinyRun

from isofield.config import Sections
from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.stages import SECTIONS_READ
from promised import CONTRACT


@pytest.mark.parametrize("file", CONTRACT)
def test_every_promised_file_is_there(finished, file):
    assert (finished.paths.root / file).stat().st_size > 0


def test_nothing_unfinished_is_left(finished):
    assert not list(finished.paths.root.rglob("*.partial"))


def test_metrics_speak_of_every_method(finished):
    metrics = finished.metrics()
    for method in ("isotropic", "nearest", "linear", "cubic"):
        assert 10 < metrics[method]["psnr_db"] < 60, method
        assert 0 < metrics[method]["ssim"] <= 1, method
    assert metrics["nearest"]["psnr_db"] < metrics["linear"]["psnr_db"] < metrics["cubic"]["psnr_db"]
    assert 0 < metrics["residual_rms"] < metrics["residual_rms_cubic"] < 0.1
    assert 0.5 < metrics["seam_score"] < 1.5
    assert metrics["n_blocks"] == {"done": 8}


def test_the_table_of_metrics_agrees_with_the_summary(finished):
    table, metrics = pd.read_parquet(finished.paths.block_metrics), finished.metrics()
    assert table["block_id"].tolist() == list(range(8))
    assert set(table["state"]) == {"done"}
    n = table[[f"shape_{a}" for a in "zyx"]].prod(axis=1)
    assert n.sum() == 48 * 64 * 64
    mse = (255**2 * 10 ** (-table["psnr_db"] / 10) * n).sum() / n.sum()
    assert 10 * np.log10(255**2 / mse) == pytest.approx(metrics["isotropic"]["psnr_db"], abs=1e-9)


def test_metrics_are_those_of_the_image_on_disk(finished):
    """Computed afresh on whole arrays: the truth is the phantom itself."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from isofield.phantom import tissue

    truth = tissue((48, 64, 64))
    image = read_region(finished.paths.isotropic, 0, Roi((0, 0, 0), truth.shape))
    metrics = finished.metrics()["isotropic"]
    assert metrics["psnr_db"] == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=255), abs=1e-9)
    assert metrics["ssim"] == pytest.approx(structural_similarity(truth, image, win_size=7, data_range=255), abs=1e-6)
    sections = np.rint(truth.reshape(12, 4, 64, 64).mean(axis=1))
    contrast = finished.plan.intensity["high"] - finished.plan.intensity["low"]
    residual = image.astype(float).reshape(12, 4, 64, 64).mean(axis=1) - sections
    assert finished.metrics()["residual_rms"] == pytest.approx(np.sqrt((residual**2).mean()) / contrast, abs=1e-9)


@pytest.mark.parametrize("name", ["isotropic", "measured"])
def test_independent_validators_accept_the_images(finished, name):
    path = str(getattr(finished.paths, name))
    yaozarrs.validate_zarr_store(path)
    ome_zarr_models.v05.Image.from_zarr(zarr.open_group(path, mode="r"))


def test_measured_and_isotropic_span_the_same_depth(finished):
    def extent(path):
        group = zarr.open_group(str(path), mode="r")
        scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        return [n * s for n, s in zip(group["0"].shape, scale, strict=True)]

    assert extent(finished.paths.measured) == extent(finished.paths.isotropic) == [384.0, 512.0, 512.0]


def test_the_report_stands_by_itself_and_names_its_figures(finished):
    page = finished.paths.report.read_text(encoding="utf-8")
    assert f"{finished.metrics()['isotropic']['psnr_db']:.2f}" in page
    assert "tiny" in page
    assert 'src="http' not in page
    layers = {layer["name"] for layer in json.loads(finished.paths.neuroglancer.read_bytes())["layers"]}
    assert {"measured", "isotropic"} <= layers


def test_the_same_run_elsewhere_is_the_same_bytes(finished, tmp_path):
    again = TinyRun.at(tmp_path / "elsewhere").all_stages()
    assert again.paths.prior.read_bytes() == finished.paths.prior.read_bytes()
    assert again.fields() == finished.fields()
    assert again.shards() == finished.shards()
    figures = [
        {key: value for key, value in r.metrics().items() if key not in ("made_from", "checksum")} for r in (again, finished)
    ]
    assert figures[0] == figures[1]
    # Negative control: another seed is another prior and another image.
    other = TinyRun.at(tmp_path / "other", run={"name": "tiny", "threads_per_job": 1, "device": "cpu", "seed": 1})
    for name in ("plan", "train", "canvas", "fit", "blend"):
        assert other.stage(name) == 0
    assert other.shards() != finished.shards()


def test_figures_are_the_same_on_any_number_of_threads(run, finished):
    many = run.changed(run={"threads_per_job": 3})
    run.paths.metrics.unlink()
    run.paths.block_metrics.unlink()
    assert many.stage("measure") == 0
    figures = [{k: v for k, v in one.metrics().items() if k not in ("made_from", "checksum")} for one in (many, finished)]
    assert figures[0] == figures[1]
    assert run.paths.block_metrics.read_bytes() == finished.paths.block_metrics.read_bytes()


# --- sections of the configuration: what a stage reads is what it declares ---


def test_a_section_that_was_not_given_is_an_error():
    with pytest.raises(AttributeError, match="not given the section 'prior'"):
        _ = Sections({}, ()).prior


@pytest.mark.parametrize(
    ("stage", "section"),
    [
        ("plan", "blocks"),
        ("plan", "measurement"),
        ("plan", "intensity"),
        ("train", "prior"),
        ("canvas", "output"),
        ("fit", "field"),
        ("fit", "fit"),
        ("blend", "source"),
        ("pyramid", "output"),
        ("finish", "output"),
        ("measure", "quality"),
    ],
)
def test_a_stage_that_reads_an_undeclared_section_fails(run, monkeypatch, stage, section):
    """The fixture ran every stage with exactly what it declares; with one section less none gets through."""
    monkeypatch.setitem(SECTIONS_READ, stage, tuple(n for n in SECTIONS_READ[stage] if n.partition(".")[0] != section))
    with pytest.raises(AttributeError, match=f"not given the section '{section}'"):
        run.stage(stage)
