"""The methods of the benchmark of quality, by the name of their row: what to train, then how to reconstruct."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from isofield.benchmark.prior_budget import prior_steps
from isofield.benchmark.setting import CONDITIONAL, UNCONDITIONAL, Measured, Setting
from isofield.blend import Windows, gather, whole_blocks
from isofield.errors import InputError
from isofield.field.batch import BlockBatch
from isofield.field.representation import X, Y
from isofield.field.targets import distillation_targets
from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.paths import RunPaths
from isofield.prior.checkpoint import load_prior
from isofield.prior.spec import PriorSpec
from isofield.quality.baselines.interpolation import Interpolation
from isofield.quality.baselines.regressor import Regressor
from isofield.quality.baselines.ridge import Ridge
from isofield.quality.baselines.supervised import SupervisedBound
from isofield.records import read_json, write_json
from isofield.stages.blending import blend_job
from isofield.stages.device import choose_device
from isofield.stages.fitting import fit_job
from isofield.stages.imaging import make_canvas
from isofield.stages.training import train_prior


@dataclass(frozen=True)
class Outcome:
    """A reconstruction (Z, Y, X) as grey values before rounding (or as stored), and its cost in seconds."""

    values: np.ndarray
    train_s: float
    reconstruct_s: float


@dataclass(frozen=True)
class Method:
    """A row of the table. prior: the training it shares with others, None where it has its own or none."""

    make: Callable[[Setting], Outcome]
    prior: str | None = None


def train_shared(setting: Setting, which: str) -> float:
    """Train a prior for the setting's budget; seconds it took. Kept under its name in the setting's folder."""
    changes: tuple[str, ...] = ()
    if which == UNCONDITIONAL:
        changes = ("prior.unconditional_share=1", "prior.posterior_mean_share=0", "prior.rounds=1")
    plan, paths = setting.planned(which, changes)
    config = setting.sections("train", which, changes)
    steps = prior_steps(config, plan, setting.train_s)
    started = time.monotonic()
    train_prior(setting.sections("train", which, (*changes, f"prior.steps={steps}")), paths)
    seconds = time.monotonic() - started
    write_json(paths.root / "cost.json", {"train_s": seconds, "steps": steps})
    return seconds


def _baseline(make: Callable[[torch.device], object]) -> Callable[[Setting], Outcome]:
    def run(setting: Setting) -> Outcome:
        device = choose_device(setting.device, setting.threads)
        measured = Measured(setting)
        return _trained(make(device), setting, measured)

    return run


def _trained(baseline, setting: Setting, measured: Measured) -> Outcome:
    started = time.monotonic()
    baseline.train(measured.all_sections, measured.model, setting.train_s, setting.seed)
    trained = time.monotonic()
    units = baseline.reconstruct(measured.sections, measured.plan.axial, 0, measured.plan.shape[0])
    done = time.monotonic()
    return Outcome(measured.contrast.restore(units), trained - started, done - trained)


def _supervised(setting: Setting) -> Outcome:
    if not setting.teacher:
        raise InputError(
            "--teacher", None, "is needed by the method supervised", "Name another isotropic volume, or leave it out"
        )
    device = choose_device(setting.device, setting.threads)
    other = Measured(replace(setting, volume=setting.teacher, roi_vox=None, out=f"{setting.out}/teacher"))
    spec: PriorSpec = setting.sections("train", "measured").prior
    truth = other.contrast.normalise(other.truth())
    bound = SupervisedBound(truth, other.sections, other.plan.axial, spec, device)
    return _trained(bound, setting, Measured(setting))


def _slices(axes: tuple[int, ...]) -> Callable[[Setting], Outcome]:
    """The prior's own answer, no field: slices of one direction or the mean of both, blended block by block."""

    def run(setting: Setting) -> Outcome:
        device = choose_device(setting.device, setting.threads)
        measured = Measured(setting)
        plan, spec = measured.plan, setting.sections("fit", CONDITIONAL).fit
        denoise, about = load_prior(RunPaths(setting.folder / CONDITIONAL).prior, device)
        sees = PriorSpec.model_validate(about["spec"])

        def render(index: int) -> np.ndarray:
            data = measured.blocks.block(index, setting.seed, noisy=False, **sees.beside)
            if data is None:
                return measured.blocks.base(plan.block_grid[index].field_roi)
            targets = distillation_targets(BlockBatch.stack([data], device), denoise, mirrored=spec.mirrored)
            return torch.stack([targets[axis][0] for axis in axes]).mean(dim=0).cpu().numpy()

        started = time.monotonic()
        windows = Windows(plan.block_grid, plan.overlap_vox)
        units = gather(Roi((0, 0, 0), plan.shape), windows, whole_blocks(windows.grid, render)).values
        seconds = time.monotonic() - started
        return Outcome(plan.contrast.restore(units), _train_s(setting, CONDITIONAL), seconds)

    return run


def _isofield(name: str, changes: tuple[str, ...], prior: str = CONDITIONAL) -> Callable[[Setting], Outcome]:
    """The stages themselves, fit and blend, with a prior that has been trained."""

    def run(setting: Setting) -> Outcome:
        plan, paths = setting.planned(name, changes)
        kept = RunPaths(setting.folder / prior)
        paths.prior.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept.prior, paths.prior)
        shutil.rmtree(paths.fields, ignore_errors=True)
        make_canvas(setting.sections("canvas", name, changes), paths)
        started = time.monotonic()
        for job in range(plan.n_fit_jobs):
            fit_job(setting.sections("fit", name, changes), paths, job)
        for job in range(plan.n_blend_jobs):
            blend_job(setting.sections("blend", name, changes), paths, job)
        seconds = time.monotonic() - started
        values = read_region(paths.isotropic, 0, Roi((0, 0, 0), plan.shape))
        return Outcome(values, 0.0 if "fit.prior_weight=0" in changes else _train_s(setting, prior), seconds)

    return run


def _train_s(setting: Setting, prior: str) -> float:
    return float(read_json(setting.folder / prior / "cost.json")["train_s"])


_MLP = (
    *("fit.mode=sds", "field.kind=siren", "field.hidden=64", "field.n_hidden_layers=3"),
    *("fit.learning_rate=0.0003", "fit.prior_weight=0.2"),
)
_SDS_GRID = ("fit.mode=sds", "fit.prior_weight=0.2")
_NO_PRIOR = ("fit.prior_weight=0", "fit.steps=120", "fit.learning_rate=0.02")

METHODS: dict[str, Method] = {
    "nearest": Method(_baseline(lambda device: Interpolation("nearest"))),
    "linear": Method(_baseline(lambda device: Interpolation("linear"))),
    "cubic": Method(_baseline(lambda device: Interpolation("cubic"))),
    "ridge": Method(_baseline(lambda device: Ridge())),
    "regressor": Method(_baseline(lambda device: Regressor(device))),
    "slices_zx": Method(_slices((Y,)), CONDITIONAL),
    "slices_zy": Method(_slices((X,)), CONDITIONAL),
    "slices_mean": Method(_slices((Y, X)), CONDITIONAL),
    # A prior that is never asked: the one at hand, so that the stage has what it expects.
    "field_no_prior": Method(_isofield("field_no_prior", _NO_PRIOR), CONDITIONAL),
    "sds_mlp": Method(_isofield("sds_mlp", _MLP, UNCONDITIONAL), UNCONDITIONAL),
    "sds_grid": Method(_isofield("sds_grid", _SDS_GRID, UNCONDITIONAL), UNCONDITIONAL),
    "isofield": Method(_isofield("isofield", ()), CONDITIONAL),
    "isofield_detail": Method(_isofield("isofield_detail", ("fit.detail=1",)), CONDITIONAL),
    "supervised": Method(_supervised),
}
"""In the order of the table's rows."""
