"""Stage fit: one job's blocks, fitted in batches, each published on its own as soon as it is done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from isofield.blockrecords import BlockRecord
from isofield.bundling import PORTION_BLOCKS
from isofield.config import Sections
from isofield.cost.memory import CUDA_BYTES_PER_VOX
from isofield.errors import InputError, UnreadableError
from isofield.field.block import BlockData
from isofield.field.checkpoint import pack_field
from isofield.field.fit import FitResult, fit_fields
from isofield.field.targets import Denoise
from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.prior.checkpoint import load_prior
from isofield.prior.spec import PriorSpec
from isofield.progress import Progress, say
from isofield.records import fingerprint, sealed, sha256_file, write_json
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device, is_out_of_memory, release_memory
from isofield.stages.stopping import BlocksFailedError, StoppedError, StopRequest
from isofield.stages.tables import read_table

FIT_CODE = 7
"""Raised whenever a change of the fitting code changes what it produces."""
RETRY_STEP_SCALE = 0.25


def fit_fingerprint(config: Sections, plan: Plan, paths: RunPaths, device: torch.device) -> str:
    """Everything a fitted block depends on: geometry, normalisation, measurement, source, prior, specs, seed, code."""
    spec = config.fit.model_dump(exclude={"batch_blocks", "blocks_per_job", "max_attempts"})
    return fingerprint(
        plan.fingerprints["geometry"],
        plan.empty_below,
        sha256_file(paths.prior),
        config.field,
        spec,
        config.run.seed,
        device.type,
        FIT_CODE,
    )


def fit_job(config: Sections, paths: RunPaths, job: int) -> None:
    """Fit the blocks of one job that have no sound record yet, then publish the job's record.

    Raises BlocksFailedError naming the blocks that failed every attempt; no job record is written then.
    """
    plan = Plan.load(paths.plan)
    device = choose_device(config.run.device, config.run.threads_per_job)
    store = FieldStore(paths.fields, fit_fingerprint(config, plan, paths, device))
    blocks = job_blocks(plan, job)
    empty = known_empty(paths, blocks)
    write_json(paths.current_fit, sealed({"fingerprint": store.fingerprint}))
    settled = ("skipped", "fallback") if config.run.on_failed_block == "fallback" else ("skipped",)
    todo = [i for i in blocks if i not in empty and not store.sound(i, settled)]
    say(f"fit job {job}: {len(blocks)} blocks, {len(blocks) - len(todo)} already done")
    if todo:
        denoise, about = load_prior(paths.prior, device)
        measured = MeasuredBlocks(open_source(config.source), plan)
        Fitter(config, store, measured, denoise, about, device, store.lying_loose(blocks)).fit(todo, len(blocks))
    if config.run.on_failed_block == "fallback":
        give_up(store, todo)
    states = {i: "skipped" if i in empty else store.state(i) for i in blocks}
    failed = [i for i, state in states.items() if state not in ("done", *settled)]
    if failed:
        raise BlocksFailedError(
            f"fit job {job}: {len(failed)} of {len(blocks)} blocks failed ({shown(failed)}); the others are kept. "
            f"Their records in {store.folder} say why. Run again to retry them; run.on_failed_block: fallback has them "
            "interpolated instead"
        )
    pack = store.pack(blocks, [skipped(store, i) for i in sorted(empty)])
    counts = dict(sorted(Counter(states.values()).items()))
    about = {"made_from": config.mark, "fingerprint": store.fingerprint, "job": job}
    write_json(paths.fit_job(job), sealed({**about, "states": counts, "pack": pack}))


def job_blocks(plan: Plan, job: int) -> list[int]:
    """Numbers, ascending, of the blocks of one job."""
    if not 0 <= job < plan.n_fit_jobs:
        raise InputError("--job", job, f"the plan has jobs 0 to {plan.n_fit_jobs - 1}", "Give one of these")
    return plan.jobs.fit_blocks(job)


def known_empty(paths: RunPaths, blocks: list[int]) -> set[int]:
    """Those of `blocks` that plan found to be empty."""
    within = [("block_id", ">=", blocks[0]), ("block_id", "<=", blocks[-1])]
    table = read_table(paths.blocks, "plan", columns=["block_id", "empty"], filters=within)
    return set(table.loc[table["empty"], "block_id"]).intersection(blocks)


def give_up(store: FieldStore, blocks: list[int]) -> None:
    """Turn records of failure into such that blend fills in: the block is not tried again."""
    for index in blocks:
        record = store.read(index)
        if record is not None and record.state == "failed":
            say(f"fit: block {index} is given up, its place will be interpolated: {record.message}")
            store.publish(record.model_copy(update={"state": "fallback"}), None)


def shown(blocks: list[int]) -> str:
    return ", ".join(map(str, blocks[:20])) + (" ..." if len(blocks) > 20 else "")


def skipped(store: FieldStore, index: int) -> BlockRecord:
    return BlockRecord(block_id=index, state="skipped", fingerprint=store.fingerprint, message="no contrast")


class Fitter:
    """Fits many blocks in batches of equal shape, retrying unsound ones alone and more gently."""

    def __init__(
        self,
        config: Sections,
        store: FieldStore,
        measured: MeasuredBlocks,
        denoise: Denoise,
        prior: dict[str, Any],
        device: torch.device,
        loose: Iterable[int] = (),
    ) -> None:
        """loose: blocks of the job that a process before this one left loose."""
        self.config, self.store, self.measured, self.denoise, self.device = config, store, measured, denoise, device
        self.prior, self.noise = PriorSpec.model_validate(prior["spec"]), prior["section_noise"]
        self.field_spec = config.field.decided(config.fit.detail, measured.axial.ratio)
        self.largest = PORTION_BLOCKS
        """Blocks that may be fitted together: a portion, or what was found to fit into memory when it ran out."""
        self.loose = set(loose)
        self.failed: dict[int, str] = {}
        self.unreadable: dict[int, UnreadableError] = {}

    def fit(self, indices: list[int], n_blocks: int | None = None) -> None:
        """Fit blocks and publish each as soon as it is done; those that turn out to be empty are skipped.

        n_blocks: in the whole job. Raises UnreadableError once all others are done if the sections of some could not be read, or
        at once if nothing can be read any more, and BlocksFailedError as soon as more than half of the job's blocks are lost,
        either way.
        """
        progress = Progress("fit", len(indices), "blocks")
        bearable = max(1, (n_blocks or len(indices)) // 2)
        done = 0
        with StopRequest() as request:
            for batch in self._batches(indices):
                self._make_room(len(batch))
                self._fit_within_memory(batch)
                done += len(batch)
                progress.update(done)
                self._require_most(bearable, done)
                if request.made and done < len(indices):
                    raise StoppedError(
                        f"fit: {request.made} after {done} of {len(indices)} blocks, which are kept; run again to go on"
                    )

        if self.unreadable:
            first = next(iter(self.unreadable.values()))
            lost = f"blocks {shown(list(self.unreadable))} cannot be fitted, all others are kept"
            raise UnreadableError(first.thing, first.value, f"{first.limit}; {lost}", first.remedy)

    def _make_room(self, n: int) -> None:
        """Pack what lies loose if `n` blocks more would make it more than a portion."""
        if len(self.loose) + n > PORTION_BLOCKS:
            self.store.pack_portion(sorted(self.loose))
            self.loose.clear()

    def _require_most(self, bearable: int, n_tried: int) -> None:
        lost = {**self.failed, **{i: str(error) for i, error in self.unreadable.items()}}
        if len(lost) > bearable:
            last, why = list(lost.items())[-1]
            diverged = "Look at prior/samples.png and prior/loss.csv, at the source, and at fit.learning_rate"
            raise BlocksFailedError(
                f"fit: stopped early, {len(lost)} of {n_tried} blocks failed ({shown(list(lost))}), more than half of the job: "
                f"something is wrong with all of them. Block {last}: {why.rstrip('.')}. "
                f"{diverged if self.failed else 'It is the source that needs mending'}; blocks that are done are kept"
            )

    def _fit_within_memory(self, batch: list[int]) -> None:
        """Fit a batch; where memory runs out, in halves, and so all batches from then on."""
        try:
            return self._fit_batch(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # The error holds on to the frames it came through, and these to the memory: go on outside of this clause.
            if len(batch) == 1:
                side = max(self.measured.plan.block_grid.core)
                remedy = "Give the job more memory, or lower blocks.write_vox"
                raise InputError("blocks.write_vox", side, "memory ran out over a single block", remedy) from None
        self.largest = len(batch) // 2
        say(f"fit: out of memory with {len(batch)} blocks at once, going on with {self.largest}")
        release_memory(self.device)
        while batch:
            # What the first part finds to be too many need not be tried again.
            part, batch = batch[: self.largest], batch[self.largest :]
            self._fit_within_memory(part)

    def _fit_batch(self, batch: list[int]) -> None:
        noisy = self.config.fit.mode == "distill" and self.config.fit.detail > 0
        data = {}
        for i in batch:
            try:
                data[i] = self.measured.block(i, self.config.run.seed, noisy=noisy, **self.prior.beside)
            except UnreadableError as error:
                if error.place is None:
                    raise
                self.unreadable[i] = error
        for index in [i for i, block in data.items() if block is None]:
            self._keep(skipped(self.store, index), None)
        filled = {i: block for i, block in data.items() if block is not None}
        for index in self._attempt(list(filled), list(filled.values()), attempt=1) if filled else ():
            self._retry(index, filled[index])

    def _batches(self, indices: list[int]) -> Iterator[list[int]]:
        grid = self.measured.plan.block_grid
        axial, model = self.measured.axial, self.measured.plan.model
        groups: dict[tuple, list[int]] = {}
        for i in indices:
            read, field = grid[i].read_roi, grid[i].field_roi
            n_sections = len(model.whole_sections(axial, read.offset.z, read.end.z))
            groups.setdefault((read.shape, field.relative_to(read), n_sections), []).append(i)
        for (read_shape, *_), members in groups.items():
            size = self.config.fit.batch_blocks or self._fitting_batch(read_shape.volume)
            while members:
                size = min(size, self.largest)
                yield members[:size]
                members = members[size:]

    def _fitting_batch(self, n_vox: int) -> int:
        if self.device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(1, int(free * 0.7 / (n_vox * CUDA_BYTES_PER_VOX)))

    def _attempt(self, batch: list[int], data: list[BlockData], attempt: int) -> list[int]:
        """Fit a batch, publish its sound blocks, return the others."""
        started = time.monotonic()
        gentler = RETRY_STEP_SCALE ** (attempt - 1)
        result = fit_fields(data, self.denoise, self.field_spec, self.config.fit, self.device, gentler, self.noise)
        seconds = (time.monotonic() - started) / len(batch)
        unsound = []
        for position, index in enumerate(batch):
            if result.sound[position]:
                self._publish(index, "done", result, position, attempt, seconds)
            elif attempt < self.config.fit.max_attempts:
                unsound.append(index)
            else:
                self._publish(index, "failed", result, position, attempt, seconds)
        return unsound

    def _retry(self, index: int, data: BlockData) -> None:
        for attempt in range(2, self.config.fit.max_attempts + 1):
            say(f"fit: block {index} diverged, attempt {attempt} with a smaller step")
            if not self._attempt([index], [data], attempt):
                return

    def _publish(self, index: int, state: str, result: FitResult, position: int, attempt: int, seconds: float) -> None:
        losses = result.losses[~np.isnan(result.losses[:, position]), position]
        last = losses[-1] if len(losses) else np.nan
        stats = {
            "loss_first": float(result.losses[0, position]),
            "loss_last": float(last),
            "steps": len(losses),
            "data_rms": float(result.data_rms[position]),
            "prior_rms": float(result.prior_rms[position]),
        }
        record = BlockRecord(
            block_id=index,
            state=state,
            fingerprint=self.store.fingerprint,
            attempts=attempt,
            seconds=seconds,
            stats=stats,
            message=None if state == "done" else f"diverged in {attempt} attempts: loss {stats['loss_last']:.4g}",
        )
        if state == "failed":
            self.failed[index] = record.message or ""
        payload = pack_field(result.fields, position, self.field_spec) if state == "done" else None
        self._keep(record, payload)

    def _keep(self, record: BlockRecord, payload: bytes | None) -> None:
        self.store.publish(record, payload)
        self.loose.add(record.block_id)
