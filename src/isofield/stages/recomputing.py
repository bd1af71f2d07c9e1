"""Blocks fitted once more, by the code that fitted them, and compared with what a run has stored of them."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from isofield.config import Sections
from isofield.errors import InputError
from isofield.fieldstore import FieldStore
from isofield.geometry import ZYX, Roi
from isofield.intensity import to_dtype
from isofield.omezarr.reading import read_region
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.prior.checkpoint import load_prior
from isofield.source import open_source
from isofield.stages.blending import BlockRenderer
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device
from isofield.stages.fitting import Fitter, fit_fingerprint
from isofield.verify.expected import blends_over, fit_jobs
from isofield.verify.finding import Finding, Repair

TOLERANCE = 5e-3
"""Rms in working units, whose contrast range is 2, by which a block may differ between processors and library versions."""


@dataclass
class Recomputed:
    """reason: why nothing was computed, None if it was; n_equal: blocks whose field is the stored one to the byte."""

    blocks: list[int] = field(default_factory=list)
    n_equal: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None


def recompute(config: Sections, plan: Plan, paths: RunPaths, store: FieldStore, n: int) -> Recomputed:
    """Fit `n` blocks, drawn by the run's seed, and look again at as many that were left out as empty."""
    again = Recomputed()
    try:
        device = choose_device(config.run.device, config.run.threads_per_job)
        again.reason = _hindrance(config, plan, paths, store, device)
        if again.reason:
            return again
        volume = open_source(config.source)
        if any(plan.source["identity"].get(key) != value for key, value in volume.info.identity.items()):
            again.reason = "the source is not the volume that was planned from"
            return again
        denoise, about = load_prior(paths.prior, device)
        done, skipped = _drawn(plan, store, n, config.run.seed)
        measured = MeasuredBlocks(volume, plan)
        with TemporaryDirectory(prefix="isofield-verify-") as folder:
            scratch = FieldStore(folder, store.fingerprint)
            Fitter(config, scratch, measured, denoise, about, device).fit([*done, *skipped])
            # As blend does, whatever device the fields were fitted on.
            renderer = BlockRenderer(scratch, measured, torch.device("cpu"))
            for index in done:
                _compare(index, store, scratch, renderer, plan, paths, again)
            for index in skipped:
                if scratch.state(index) != "skipped":
                    again.findings.append(_wrong(index, "was left out as empty, but there is something to fit", plan, paths))
        again.blocks = [*done, *skipped]
    except InputError as error:
        again.reason = str(error)
    return again


def _hindrance(config: Sections, plan: Plan, paths: RunPaths, store: FieldStore, device: torch.device) -> str | None:
    """Why the run's fields cannot be made here; None if they can."""
    if not paths.prior.exists():
        return f"{paths.prior} is gone"
    own = {kind: fit_fingerprint(config, plan, paths, torch.device(kind)) for kind in ("cpu", "cuda")}
    if store.fingerprint == own[device.type]:
        return None
    if store.fingerprint in own.values():
        return f"the fields were not made on {device.type}, which is what there is here"
    return "the fields were made from another prior, plan or configuration, or by another version of isofield"


def _drawn(plan: Plan, store: FieldStore, n: int, seed: int) -> tuple[list[int], list[int]]:
    """Blocks that are done, and that were left out as empty: `n` of each, or all there are."""
    chosen: dict[str, list[tuple[bytes, int]]] = {"done": [], "skipped": []}
    wanted = plan.jobs.blocks

    def lot(item: tuple[int, str]) -> bytes:
        return hashlib.sha256(f"{seed}/verify/{item[0]}".encode()).digest()

    for state in chosen:
        of_state = ((i, record["state"]) for i, record in store.records() if record["state"] == state and i in wanted)
        chosen[state] = [(lot(item), item[0]) for item in heapq.nsmallest(n, of_state, key=lot)]
    return sorted(i for _, i in chosen["done"]), sorted(i for _, i in chosen["skipped"])


def _compare(
    index: int, store: FieldStore, scratch: FieldStore, renderer: BlockRenderer, plan: Plan, paths: RunPaths, again: Recomputed
) -> None:
    stored, made = store.read(index), scratch.read(index)
    if stored is None or made is None or made.state != "done":
        again.findings.append(_wrong(index, f"is done, but fitted once more it is {made and made.state}", plan, paths))
        return
    same = stored.field_sha256 == made.field_sha256
    again.n_equal += same
    roi = alone(plan, index)
    if roi.empty:
        if not same:
            again.notes.append(f"block {index} is not the same to the byte, and blended everywhere: nothing to compare it with")
        return
    values = renderer.whole(index)[roi.relative_to(plan.block_grid[index].field_roi).slices]
    expected = to_dtype(plan.contrast.restore(values), plan.dtype)
    try:
        found = read_region(paths.isotropic, 0, roi)
    except InputError:
        return  # A shard that is missing or damaged is named by its own check.
    off = found.astype(np.float64) - expected
    rms, limit = float(np.sqrt(np.mean(off**2))), allowed_rms(plan)
    if rms > limit:
        largest = roi.offset + ZYX(*(int(i) for i in np.unravel_index(np.argmax(np.abs(off)), off.shape)))
        by = f"{rms:.3g} grey levels rms (limit {limit:.3g}), most at {tuple(largest)}"
        what = f"fitted once more it differs from the image by {by}"
        again.findings.append(_wrong(index, what, plan, paths, roi))
    elif not same:
        again.notes.append(
            f"block {index} fitted once more is not the same to the byte (another processor or library?), "
            f"but the image to {rms:.3g} grey levels rms (limit {limit:.3g})"
        )


def allowed_rms(plan: Plan) -> float:
    """Grey levels rms between two fits of one block; numbers that were rounded to integers may fall to either side."""
    grey = TOLERANCE * plan.contrast.grey_per_unit
    return float(np.hypot(grey, np.sqrt(grey))) if np.dtype(plan.dtype).kind in "iu" else grey


def alone(plan: Plan, index: int) -> Roi:
    """Where a block is not blended with others, within the part of the output that the run makes."""
    grid, margin = plan.block_grid, plan.overlap_vox
    write = grid[index].write_roi
    begin = (o + margin * (o > 0) for o in write.offset)
    end = (e - margin * (e < n) for e, n in zip(write.end, grid.shape, strict=True))
    return Roi.between(begin, end).intersect(plan.jobs.region or grid.bounds)


def _wrong(index: int, what: str, plan: Plan, paths: RunPaths, roi: Roi | None = None) -> Finding:
    repairs = (*fit_jobs(paths, plan, (index,)), *blends_over(paths, plan, index), Repair("block", str(index)))
    file = str(Path(paths.fields))
    return Finding("recompute", what, file, 0 if roi else None, roi, (index,), repairs)
