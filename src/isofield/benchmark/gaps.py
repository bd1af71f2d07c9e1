"""`isofield benchmark sections`: sections of a degraded volume are spoilt, and reconstructed believing them, and not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import floor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from isofield.config import load_config, load_sections
from isofield.defects.filling import fill_matrix
from isofield.errors import InputError
from isofield.geometry import AxialMap, Roi, exact_nm
from isofield.intensity import to_dtype
from isofield.interpolation import interpolation_matrix
from isofield.measurement import MeasurementModel
from isofield.omezarr.reading import read_region
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import say
from isofield.records import write_bytes_atomic
from isofield.source import open_source
from isofield.stages import SECTIONS_READ
from isofield.stages.blending import blend_job
from isofield.stages.fitting import fit_job
from isofield.stages.imaging import make_canvas
from isofield.stages.planning import plan_run
from isofield.stages.training import train_prior

PLANTED = ("missing", "black", "duplicate", "noise", "missing twice", "saturated")
FIRST, APART = 3, 4
"""The section that is spoilt first, and how far apart they are."""


@dataclass(frozen=True)
class Spoiling:
    """volume: isotropic; factor: planes per section; steps: of training; roi_vox: part of the volume that is used, (begin, end)
    per axis; overrides: KEY=VALUE of the configuration."""

    volume: str
    factor: float
    steps: int
    out: str
    roi_vox: tuple[tuple[int, int], ...] | None = None
    overrides: tuple[str, ...] = ()
    threads: int = 2
    device: str = "auto"


def spoil(sections: np.ndarray, seed: int = 0) -> tuple[np.ndarray, dict[int, str]]:
    """Sections (M, Y, X) some of which are spoilt, and which of them how."""
    rng, spoilt, planted = np.random.default_rng(seed), sections.copy(), {}
    at = FIRST
    for kind in PLANTED:
        for section in (at, at + 1) if kind == "missing twice" else (at,):
            if section < len(sections):
                spoilt[section] = _spoilt(kind, sections, section, rng)
            planted[section] = kind
        at = section + APART
    if max(planted) >= len(sections) - 1:
        limit = f"its {len(sections)} sections are too few for {len(planted)} spoilt ones, {APART} apart"
        raise InputError("--factor", len(sections), limit, "Give a smaller factor or a deeper volume")
    return spoilt, planted


def _spoilt(kind: str, sections: np.ndarray, at: int, rng: np.random.Generator) -> np.ndarray:
    own, top = sections[at].astype(float), np.iinfo(sections.dtype).max
    if kind == "black":
        own = rng.normal(4, 2, own.shape)
    elif kind == "duplicate":
        own = sections[at - 1]
    elif kind == "noise":
        contrast = float(np.subtract(*np.percentile(sections, (99, 1))))
        own = rng.permutation(own.ravel()).reshape(own.shape) + rng.normal(0, contrast, own.shape)
    elif kind == "saturated":
        own = np.where(own > np.percentile(own, 20), top, own)
    else:
        own = np.zeros_like(own)
    return own.clip(0, top)


def benchmark_sections(setting: Spoiling) -> pd.DataFrame:
    """PSNR in the planes of spoilt sections and elsewhere, per way to deal with them; also written to table.csv."""
    truth, sections, voxel_nm = _degraded(setting)
    spoilt, planted = spoil(sections)
    axial = AxialMap(exact_nm(setting.factor), len(sections))
    file = Path(setting.out) / "spoilt.h5"
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as out:
        out["raw"] = spoilt
    every, n = range(len(sections)), len(truth)
    spline = interpolation_matrix(axial, every, 0, n)
    good = [k for k in every if k not in planted]
    centres, at = (np.array(good) + 0.5) * float(axial.ratio), np.arange(n) + 0.5
    across = CubicSpline(centres, np.eye(len(good)), bc_type="natural")(np.clip(at, centres[0], centres[-1]))
    ways = {
        "cubic, believing them": np.tensordot(spline, spoilt, 1),
        "cubic across the gaps": np.tensordot(across, spoilt[good], 1),
        "line across the gaps, then cubic": np.tensordot(spline @ fill_matrix(every, planted), spoilt, 1),
        "isofield, believing them": _reconstructed(setting, file, voxel_nm, "believing", ("sections.detect=false",), planted),
        "isofield": _reconstructed(setting, file, voxel_nm, "detecting", (), planted),
    }
    rows = []
    kinds = dict.fromkeys(planted.values())
    for name, values in ways.items():
        squares = np.square(to_dtype(values, truth.dtype).astype(float) - truth).mean(axis=(1, 2))
        where = np.minimum(((np.arange(n) + 0.5) / float(axial.ratio)).astype(int), len(sections) - 1)
        bad = np.isin(where, list(planted))
        row = {"method": name, "damaged": _psnr(squares[bad], truth.dtype), "elsewhere": _psnr(squares[~bad], truth.dtype)}
        for kind in kinds:
            row[kind] = _psnr(squares[np.isin(where, [s for s, k in planted.items() if k == kind])], truth.dtype)
        rows.append(row)
    table = pd.DataFrame(rows)
    write_bytes_atomic(Path(setting.out) / "table.csv", table.to_csv(index=False).encode())
    return table


def markdown(table: pd.DataFrame) -> str:
    """PSNR in dB as a Markdown table."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.to_dict("records"):
        lines.append("| " + " | ".join(v if isinstance(v, str) else f"{v:.2f}" for v in row.values()) + " |")
    return "\n".join(lines)


def _degraded(setting: Spoiling) -> tuple[np.ndarray, np.ndarray, float]:
    """Truth (Z, Y, X), its sections, and its voxel size."""
    volume = open_source(load_config(json.dumps({"run": {"name": "look"}, "source": {"path": setting.volume}})).source)
    whole = Roi((0, 0, 0), volume.info.shape_zyx)
    part = Roi.between(*zip(*setting.roi_vox, strict=True)) if setting.roi_vox else whole
    if not whole.contains(part):
        raise InputError("--roi", setting.roi_vox, f"leaves the volume of {tuple(whole.shape)} voxels", "Choose a part of it")
    factor = exact_nm(setting.factor)
    axial = AxialMap(factor, floor(part.shape.z / factor))
    truth = volume.read(part)[0][: axial.n_planes]
    matrix = MeasurementModel(factor).matrix(axial, range(axial.n_sections), 0, len(truth))
    return truth, to_dtype(np.tensordot(matrix, truth, 1), truth.dtype), float(volume.info.voxel_size_nm[2])


def _reconstructed(
    setting: Spoiling, file: Path, voxel_nm: float, name: str, changes: tuple[str, ...], planted: dict[int, str]
) -> np.ndarray:
    """The stages from plan to blend over the spoilt volume."""
    size = [voxel_nm * setting.factor, voxel_nm, voxel_nm]
    run = {"name": name, "results": setting.out, "threads_per_job": setting.threads, "device": setting.device}
    source = {"path": str(file), "dataset": "raw", "voxel_size_nm": size}
    text, paths = json.dumps({"run": run, "source": source}), RunPaths(Path(setting.out) / name)
    overrides = (f"prior.steps={setting.steps}", *setting.overrides, *changes)

    def sections(stage: str):
        return load_sections(text, SECTIONS_READ[stage], overrides)

    plan = plan_run(sections("plan"), paths)
    if not changes:
        _say_found(plan, planted)
    train_prior(sections("train"), paths)
    make_canvas(sections("canvas"), paths)
    for job in range(plan.n_fit_jobs):
        fit_job(sections("fit"), paths, job)
    for job in range(plan.n_blend_jobs):
        blend_job(sections("blend"), paths, job)
    return read_region(paths.isotropic, 0, Roi((0, 0, 0), plan.shape))


def _say_found(plan: Plan, planted: dict[int, str]) -> None:
    found = {one.section: one.kind for one in plan.bad_sections}
    for section in sorted(planted.keys() | found.keys()):
        say(f"benchmark: section {section}: {planted.get(section, 'sound')}, found to be {found.get(section, 'sound')}")


def _psnr(squares: np.ndarray, dtype: np.dtype) -> float:
    return float(10 * np.log10(np.iinfo(dtype).max ** 2 / squares.mean()))
