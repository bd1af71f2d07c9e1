"""Stage train: the prior, from XY crops of the whole volume, resumable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch

from isofield import __version__
from isofield.config import Sections
from isofield.defects.filling import run_lengths
from isofield.errors import InputError
from isofield.intensity import Intensity
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.prior.checkpoint import (
    INIT_REMEDY,
    load_of_size,
    load_prior,
    pack_prior,
    pack_training,
    resume_training,
    start_from,
)
from isofield.prior.denoiser import Denoiser
from isofield.prior.noise import section_noise
from isofield.prior.patches import MIN_PATCH_VOX, LateralDegradation, PatchSampler
from isofield.prior.second_round import RestoredSampler, widen
from isofield.prior.spec import NOT_TRAINED_BY, PriorSpec
from isofield.prior.training import TrainingState, initial_state, run_training
from isofield.progress import Progress, say
from isofield.records import fingerprint, sealed, sha256_file, write_bytes_atomic, write_json
from isofield.source import open_source
from isofield.source.paths import expand
from isofield.stages.blocks_io import planned
from isofield.stages.device import choose_device
from isofield.stages.restoring import restored_stacks
from isofield.stages.samples import samples_picture
from isofield.stages.sampling import require_learnable, sample_crops
from isofield.stages.stopping import StoppedError, StopRequest

PRIOR_CODE = 6
"""Raised whenever a change of the training code changes what it produces."""
LOSS_HEADER = "step,loss,posterior_mean_loss"
Losses = list[tuple[int, float, float]]


def train_prior(config: Sections, paths: RunPaths) -> None:
    """Train the prior, or go on where an interrupted training stopped, and publish it."""
    plan = Plan.load(paths.plan)
    device = choose_device(config.run.device, config.run.threads_per_job)
    spec = config.prior
    init = init_path(spec)
    if init and not spec.steps:
        return adopt_prior(init, config, plan, paths)
    sampler, noise = make_sampler(config, plan)
    # How often a state is saved changes nothing in what is trained.
    mark = fingerprint(
        plan.fingerprints["volume"],
        spec.model_dump(exclude=set(NOT_TRAINED_BY)),
        sha256_file(init) if init else None,
        config.run.seed,
        device.type,
        PRIOR_CODE,
    )
    losses: Losses = []
    if spec.rounds == 1:
        state = trained(spec, sampler, paths, mark, config.run.seed, device, partial(_begin, spec, init))
    else:
        first, losses = first_network(config, paths, sampler, mark, init, device)
        spec = spec.model_copy(update={"steps": spec.steps - len_of(losses)})
        sees = spec if init else spec.model_copy(update={"rounds": 1})
        sampler = second_sampler(sampler, sampler.pool, first, sees, spec, plan, device)
        begin = partial(_begin, spec, init) if init else partial(_widened, first)
        state = trained(spec, sampler, paths, f"{mark}-2", config.run.seed, device, begin, before=len_of(losses))
    state.losses = [*losses, *((step + len_of(losses), a, b) for step, a, b in state.losses)]
    state.step += len_of(losses)
    publish(state, config, plan, paths, sampler, noise, mark)


def trained(
    spec: PriorSpec,
    sampler: PatchSampler,
    paths: RunPaths,
    mark: str,
    seed: int,
    device: torch.device,
    begin: Callable[[TrainingState], str],
    before: int = 0,
    after: int = 0,
) -> TrainingState:
    """Train to the last step, from where an interrupted training stopped if it bears this `mark`.

    begin: gives fresh weights what they start with, and says what that is. before, after: steps of the rounds before and after
    this one. Raises StoppedError when it was told to stop.
    """
    state = resume_training(paths.training, mark, spec, device)
    if state is None:
        state = initial_state(spec, sampler, seed, device)
        start = begin(state)
        say(f"train: {start} on {device}, {sum(p.numel() for p in state.denoiser.parameters())} parameters")
    else:
        say(f"train: goes on from step {before + state.step}")
    progress = Progress("train", before + spec.steps + after, "steps", done=before + state.step)

    def report(current: TrainingState) -> None:
        note = f"loss {current.losses[-1][1]:.4f}, posterior mean {current.losses[-1][2]:.4f}" if current.losses else ""
        progress.update(before + current.step, note)

    def save(current: TrainingState) -> None:
        write_bytes_atomic(paths.training, pack_training(current, mark))

    with StopRequest() as request:
        run_training(state, spec, sampler, seed, save, report, lambda: request.made is not None)
    if state.step < spec.steps:
        raise StoppedError(f"train: {request.made} at step {before + state.step}, which is saved; run again to go on from there")
    return state


def first_network(
    config: Sections, paths: RunPaths, sampler: PatchSampler, mark: str, init: Path | None, device: torch.device
) -> tuple[Denoiser, Losses]:
    """The network of the first round and its losses: trained for half of the steps, or kept from before; with an `init`, that."""
    if init:
        return load_of_size(init, config.prior, device)[0], []
    spec = config.prior.model_copy(update={"rounds": 1, "steps": config.prior.steps // 2})
    with suppress(InputError):
        kept, about = load_prior(paths.first_prior, device)
        if about["fingerprint"] == mark:
            return kept, [(int(step), a, b) for step, a, b in about["losses"]]
    begin, after = partial(_begin, spec, None), config.prior.steps - spec.steps
    state = trained(spec, sampler, paths, f"{mark}-1", config.run.seed, device, begin, after=after)
    write_bytes_atomic(paths.first_prior, pack_prior(state.average, spec, {"fingerprint": mark, "losses": state.losses}))
    return load_prior(paths.first_prior, device)[0], state.losses


def second_sampler(
    sampler: PatchSampler,
    pool: list[np.ndarray],
    first: Denoiser,
    sees: PriorSpec,
    spec: PriorSpec,
    plan: Plan,
    device: torch.device,
) -> RestoredSampler:
    """Patches of what `first` restores of the stacks in `pool`, as the network of the second round is shown them.

    sees, spec: what the networks of the first and of the second round were or are trained by.
    """
    parts = restored_stacks(pool, first, sees, plan.model, device, sampler.degradation.length)
    return RestoredSampler(parts, sampler.degradation, sampler.seed, plan.model, spec, sampler.noise)


def small_part(sampler: PatchSampler) -> np.ndarray:
    """A part of the pool (5, Y, X): enough for a picture, or to see how long restoring takes."""
    side = 2 * sampler.degradation.length
    return sampler.pool[0][:5, :side, :side]


def len_of(losses: Losses) -> int:
    """Steps that these losses are of."""
    return losses[-1][0] if losses else 0


def _begin(spec: PriorSpec, init: Path | None, state: TrainingState) -> str:
    if init is None:
        return "from scratch"
    about = start_from(state, spec, init)
    return f"from {init} ({about['steps']} steps on a volume of ratio {about['ratio']})"


def _widened(first: Denoiser, state: TrainingState) -> str:
    for network in (state.denoiser, state.average):
        widen(network, first)
    return "second round"


def adopt_prior(init: Path, config: Sections, plan: Plan, paths: RunPaths) -> None:
    """Publish a prior that was trained elsewhere, byte for byte: runs that share one fit the same fields.

    Raises InputError unless it was trained for the same operator and ratio.
    """
    denoiser, about = load_prior(init, torch.device("cpu"), INIT_REMEDY)
    for key, ours in (("ratio", plan.ratio), ("operator", plan.operator)):
        if about[key] != ours:
            raise InputError(
                "prior.init",
                str(init),
                f"was trained for {key} {about[key]}, this run has {ours}",
                "Choose one of the same kind, or set prior.steps above 0 to train on",
            )
    theirs = PriorSpec.model_validate(about["spec"])
    sampler, _ = make_sampler(config, plan, theirs.neighbours)
    if theirs.rounds == 2:
        sampler = second_sampler(sampler, [small_part(sampler)], denoiser, theirs, theirs, plan, torch.device("cpu"))
    say(f"train: {init} is used as it is")
    write_bytes_atomic(paths.prior_losses, f"{LOSS_HEADER}\n".encode())
    write_bytes_atomic(paths.prior_samples, samples_picture(denoiser, sampler))
    write_bytes_atomic(paths.prior, init.read_bytes())
    own = {"made_from": config.mark, "volume": plan.fingerprints["volume"], "init_sha256": sha256_file(init)}
    own["sha256"] = sha256_file(paths.prior)
    write_json(paths.prior_facts, sealed({**about, **own, "version": __version__, "final_loss": None}))


def init_path(spec: PriorSpec) -> Path | None:
    """The checkpoint that training starts from. Raises InputError if there is no such file."""
    if spec.init is None:
        return None
    path = Path(expand(spec.init, "prior.init"))
    if not path.is_file():
        raise InputError("prior.init", str(path), "is not a file", "Give the prior.safetensors of a run, or leave it null")
    return path


def make_sampler(config: Sections, plan: Plan, neighbours: int | None = None) -> tuple[PatchSampler, float]:
    """Patches of the measured volume in working units, and the noise of its sections.

    neighbours: sections beside a patch that are seen, on each side, where that is not what the configuration says. Raises
    InputError when its sections are too small.
    """
    volume = planned(open_source(config.source), plan)
    contrast = Intensity(**plan.intensity)
    n_vox = max(1, config.prior.pool_bytes // 4)
    neighbours = config.prior.neighbours if neighbours is None else neighbours
    deep = 1 + 4 * neighbours
    bad = frozenset(one.section for one in plan.bad_sections)
    crops = sample_crops(volume, n_vox, config.run.seed + 1, n_sections=deep, bad=bad)
    crops, gaps = [contrast.normalise(crop) for crop in crops], run_lengths(bad)
    pool = [crop for crop in crops if crop.min() < crop.max()]
    lateral = volume.info.shape[2:]
    patch = config.prior.patch_vox
    while patch >= MIN_PATCH_VOX:
        degradation = LateralDegradation(plan.model, patch, gaps)
        if pool and max(lateral) >= degradation.length and min(lateral) >= patch:
            if patch < config.prior.patch_vox:
                say(f"train: patches of {patch} instead of {config.prior.patch_vox} voxels, sections are {lateral}")
            noise = section_noise(pool)
            matched = config.prior.noise_match * noise
            return PatchSampler(pool, degradation, config.run.seed, neighbours, matched), noise
        patch -= 8
    require_learnable(lateral, plan.model, config.source.path)
    limit = f"has no contrast in the {len(crops)} crops of its sections that were drawn to learn from"
    raise InputError("source.path", config.source.path, limit, "Use a volume with more tissue in it")


def publish(
    state: TrainingState, config: Sections, plan: Plan, paths: RunPaths, sampler: PatchSampler, noise: float, mark: str
) -> None:
    """Loss log, samples picture, checkpoint, and last the facts about it.

    What does not change the prior (where the run lies, the version) stays out of the checkpoint: fields depend on its bytes.
    """
    lines = [LOSS_HEADER, *(f"{s},{a:.6g},{b:.6g}" for s, a, b in state.losses)]
    write_bytes_atomic(paths.prior_losses, ("\n".join(lines) + "\n").encode())
    write_bytes_atomic(paths.prior_samples, samples_picture(state.average, sampler))
    facts = {
        "fingerprint": mark,
        "volume": plan.fingerprints["volume"],
        "voxel_size_nm": plan.voxel_size_nm,
        "ratio": plan.ratio,
        "operator": plan.operator,
        "intensity": plan.intensity,
        "steps": state.step,
        "seed": config.run.seed,
        "section_noise": noise,
    }
    if init := init_path(config.prior):
        facts["init_sha256"] = sha256_file(init)
    write_bytes_atomic(paths.prior, pack_prior(state.average, config.prior, facts))
    more = {
        "sha256": sha256_file(paths.prior),
        "made_from": config.mark,
        "version": __version__,
        "spec": config.prior,
        "sigma_data": state.average.sigma_data,
        "sigma_residual": state.average.sigma_residual,
        "final_loss": state.losses[-1] if state.losses else None,
    }
    write_json(paths.prior_facts, sealed({**facts, **more}))
