"""Whole runs with a kernel from a file, at ratios that are not whole, and what the plan makes of such files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from tiny_run import TinyRun

from isofield.config import load_sections
from isofield.geometry import Roi
from isofield.measurement import MeasurementModel
from isofield.omezarr.reading import read_region
from isofield.prior.patches import LateralDegradation
from isofield.source import open_source
from isofield.stages import SECTIONS_READ
from isofield.stages.training import make_sampler


def write_profile(path: Path, *points: tuple[float, float]) -> str:
    path.write_text("z_nm,weight\n" + "".join(f"{z},{weight}\n" for z, weight in points))
    return str(path)


def residual(run: TinyRun, model: MeasurementModel) -> float:
    """Rms of the finished image pushed through `model` against the sections, as a share of the contrast."""
    axial, shape = run.plan.axial, run.plan.shape
    image = read_region(run.paths.isotropic, 0, Roi((0, 0, 0), shape)).astype(float)
    sections = open_source(run.config.source).data[0].compute().astype(float)
    pushed = np.tensordot(model.matrix(axial, range(axial.n_sections), 0, axial.n_planes), image, axes=1)
    return float(np.sqrt(np.square(pushed - sections).mean()) / (run.plan.intensity["high"] - run.plan.intensity["low"]))


def trained_with(run: TinyRun) -> np.ndarray:
    names = SECTIONS_READ["train"]
    sampler, _ = make_sampler(load_sections(run.config.section_json(*names), names), run.plan)
    return sampler.degradation.matrices


# Ratio 5/2, simulated


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> TinyRun:
    """48 planes of 8 nm as sections of 20 nm, whose profile is lopsided and reaches into both neighbours; by data alone."""
    folder = tmp_path_factory.mktemp("simulated")
    profile = write_profile(folder / "psf.csv", (-28, 0), (-4, 1), (2, 1), (40, 0))
    source = {"simulate": {"factor": 2.5, "operator": "kernel", "kernel_file": profile}}
    return TinyRun.at(folder / "results", source=source, fit={"steps": 60, "prior_weight": 0.0}).all_stages()


def test_a_simulated_kernel_is_the_one_that_is_inverted(simulated):
    plan, metrics = simulated.plan, simulated.metrics()
    assert (plan.ratio, plan.operator) == ("5/2", "kernel")
    assert plan.kernel_nm.positions == (-28, -4, 2, 40)
    assert metrics["n_blocks"] == {"done": 8}
    assert metrics["isotropic"]["psnr_db"] > 15
    assert metrics["residual_rms"] == pytest.approx(residual(simulated, plan.model), rel=1e-6)
    assert metrics["residual_rms"] < metrics["residual_rms_cubic"]
    # Negative control: through another operator, the result is further from the sections.
    assert residual(simulated, MeasurementModel(Fraction(5, 2))) > 1.2 * metrics["residual_rms"]


def test_the_prior_is_trained_on_the_kernel(simulated):
    found = trained_with(simulated)
    np.testing.assert_array_equal(found, LateralDegradation(simulated.plan.model, 32).matrices)
    plain = LateralDegradation(MeasurementModel(Fraction(5, 2)), 32).matrices
    assert found.shape == plain.shape
    assert np.abs(found - plain).max() > 0.05


# Ratio 250/23, measured: 50 nm sections of 4.6 nm pixels


@pytest.fixture(scope="module")
def sections(tmp_path_factory) -> Path:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(5, 104, 36)), (0.5, 2, 2))
    path = tmp_path_factory.mktemp("measured") / "sections.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    return path


def measured_run(sections: Path, results: Path, context_vox: int = 20, **measurement) -> TinyRun:
    source = {"path": str(sections), "dataset": "raw", "voxel_size_nm": [50, 4.6, 4.6], "simulate": None}
    blocks = {"write_vox": 32, "context_vox": context_vox, "overlap_vox": 4}
    return TinyRun.at(results, source=source, blocks=blocks, measurement={"operator": "kernel", **measurement})


def test_a_measured_spot_at_a_ratio_of_250_to_23(sections, tmp_path):
    z = (np.arange(25) - 11) * 10.0
    across = np.exp(-np.square(np.arange(7) - 3) / 4)
    spot = 50_000 * np.exp(-((z / 35) ** 2))[:, None, None] * across[:, None] * across
    tifffile.imwrite(tmp_path / "psf.tif", np.rint(spot).astype(np.uint16))
    run = measured_run(sections, tmp_path / "results", kernel_file=str(tmp_path / "psf.tif"), kernel_voxel_nm=[10, 4, 4])
    assert run.stage("plan") == 0
    # From here on the plan is all that is asked; a preview makes plans of its own.
    (tmp_path / "psf.tif").unlink()
    for stage in [name for name in SECTIONS_READ if name not in ("plan", "preview")]:
        assert run.stage(stage) == 0, stage
    plan, metrics = run.plan, run.metrics()
    assert (plan.ratio, plan.shape) == ("250/23", (55, 104, 36))
    assert plan.kernel_nm.mean == pytest.approx(0, abs=1e-6)
    assert metrics["n_blocks"] == {"done": plan.n_blocks}
    assert metrics["residual_rms"] == pytest.approx(residual(run, plan.model), rel=1e-6)
    assert metrics["residual_rms"] < metrics["residual_rms_cubic"] < 0.2
    np.testing.assert_array_equal(trained_with(run), LateralDegradation(plan.model, 32).matrices)


# What the plan makes of a file


def test_a_profile_in_the_plan_is_its_content(sections, tmp_path):
    profile = tmp_path / "psf.csv"
    text = write_profile(profile, (-60, 0), (0, 1), (60, 0))
    run = measured_run(sections, tmp_path / "results", kernel_file=text)
    assert run.stage("plan") == 0
    before, written = run.plan, run.paths.plan.stat().st_mtime_ns
    profile.write_text(profile.read_text())
    assert run.stage("plan") == 0
    assert run.paths.plan.stat().st_mtime_ns == written
    # A word in the header is another file, but no other profile: nothing fitted is lost.
    profile.write_text(profile.read_text().replace("weight", "sensitivity"))
    assert run.stage("plan") == 0
    assert run.plan != before
    assert run.plan.fingerprints == before.fingerprints
    moved = measured_run(sections, tmp_path / "results", kernel_file=str(profile.rename(tmp_path / "moved.csv")))
    assert moved.stage("plan") == 0
    assert moved.plan.fingerprints == before.fingerprints
    write_profile(tmp_path / "moved.csv", (-60, 0), (1, 1), (60, 0))
    assert moved.stage("plan") == 0
    assert set(moved.plan.fingerprints.values()).isdisjoint(before.fingerprints.values())


@pytest.mark.parametrize(
    ("points", "limit", "remedy"),
    [
        ([(-0.06, 0), (0, 1), (0.06, 0)], "spans 0.119", "Give positions in nm"),
        ([(-200, 0), (0, 1), (200, 0)], "more than the 253 nm that are reconstructed", "more sections"),
        ([(0, 0), (60, 1), (120, 0)], "centre of mass lies at 60 nm, outside the section of 50 nm", "from the section's centre"),
    ],
    ids=["too narrow", "too wide", "beside the section"],
)
def test_a_profile_that_cannot_be_right_is_refused(sections, tmp_path, capsys, points, limit, remedy):
    run = measured_run(sections, tmp_path / "results", kernel_file=write_profile(tmp_path / "psf.csv", *points))
    assert run.stage("plan") == 2
    message = capsys.readouterr().err
    assert f"measurement.kernel_file: '{tmp_path / 'psf.csv'}'" in message
    assert limit in message
    assert remedy in message
    assert not run.paths.root.exists()


@pytest.mark.parametrize("operator", ["kernel", "gaussian"])
def test_a_profile_that_no_block_holds_is_refused(sections, tmp_path, capsys, operator):
    """A section whose profile lies wholly in no block would shape no field."""
    file = write_profile(tmp_path / "psf.csv", (-100, 0), (0, 1), (100, 0))
    measurement = {"kernel_file": file} if operator == "kernel" else {"operator": operator, "fwhm_nm": 70}
    run = measured_run(sections, tmp_path / "results", context_vox=8, **measurement)
    assert run.stage("plan") == 2
    message = capsys.readouterr().err
    assert "blocks.context_vox: 8: is less than the" in message
    assert "of 5 sections lie wholly in no block" in message
    needed = int(message.strip().rpartition("Raise it to ")[2])
    assert 15 < needed < 22
    assert measured_run(sections, tmp_path / "results", context_vox=needed, **measurement).stage("plan") == 0
    # Sections that end where they end have no such needs.
    assert measured_run(sections, tmp_path / "results", context_vox=8, operator="section").stage("plan") == 0


def test_the_width_of_an_objective_is_that_of_the_sections(tmp_path):
    objective = {"numerical_aperture": 1.4, "wavelength_nm": 100, "refractive_index": 1.515}
    gaussian = {"simulate": {"factor": 4, "operator": "gaussian"}}
    blocks = {"write_vox": 32, "context_vox": 16, "overlap_vox": 4}
    run = TinyRun.at(tmp_path, source=gaussian, blocks=blocks, measurement={"objective": objective})
    assert run.stage("plan") == 0
    assert run.plan.fwhm_vox == pytest.approx(0.8859 * 100 / (1.515 - (1.515**2 - 1.4**2) ** 0.5) / 8, rel=1e-3)
    as_width = TinyRun.at(tmp_path / "same", source=gaussian, blocks=blocks, measurement={"fwhm_nm": run.plan.fwhm_vox * 8})
    assert as_width.stage("plan") == 0
    assert as_width.plan.fingerprints == run.plan.fingerprints
