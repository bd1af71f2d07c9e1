"""Stage fit: one job's blocks, fitted in batches, each published on its own as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from isofield.config import Sections
from isofield.errors import InputError
from isofield.field.block import BlockData
from isofield.field.checkpoint import pack_field
from isofield.field.fit import FitResult, fit_fields
from isofield.field.targets import Denoise
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.prior.checkpoint import load_prior
from isofield.progress import Progress, say
from isofield.records import BlockRecord, RecordStore, fingerprint, sha256_file, write_json
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device

FIT_CODE = 2
"""Raised whenever a change of the fitting code changes what it produces."""
RETRY_STEP_SCALE = 0.25
CUDA_BYTES_PER_VOX = 160


class BlocksFailedError(Exception):
    """Some blocks of a job could not be fitted; the others are done and kept."""


def fit_fingerprint(config: Sections, plan: Plan, paths: RunPaths, device: torch.device) -> str:
    """Everything a fitted block depends on: geometry, normalisation, measurement, source, prior, specs, seed, code."""
    spec = config.fit.model_dump(exclude={"batch_blocks", "blocks_per_job", "max_attempts"})
    return fingerprint(
        plan.fingerprints["geometry"],
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
    store = RecordStore(paths.fields, fit_fingerprint(config, plan, paths, device))
    blocks = job_blocks(paths, job)
    write_json(paths.current_fit, {"fingerprint": store.fingerprint})
    wanted = {i: "skipped" if blocks.loc[i, "empty"] else "done" for i in blocks.index}
    todo = [i for i in blocks.index if not (store.state(i) == wanted[i] and store.check(i))]
    say(f"fit job {job}: {len(blocks)} blocks, {len(blocks) - len(todo)} already done")
    for index in todo:
        if blocks.loc[index, "empty"]:
            store.publish(
                BlockRecord(block_id=index, state="skipped", fingerprint=store.fingerprint, message="no contrast"), None
            )
    filled = [i for i in todo if not blocks.loc[i, "empty"]]
    if filled:
        denoise, about = load_prior(paths.prior, device)
        measured = MeasuredBlocks(open_source(config.source), plan)
        Fitter(config, store, measured, denoise, about, device).fit(filled)
    states = {i: store.read(i) for i in blocks.index}
    failed = [i for i, record in states.items() if record is None or record.state == "failed"]
    if failed:
        shown = ", ".join(map(str, failed[:20])) + (" ..." if len(failed) > 20 else "")
        raise BlocksFailedError(
            f"fit job {job}: {len(failed)} of {len(blocks)} blocks failed ({shown}); the others are kept. "
            f"Their records in {store.folder} say why. Run again to retry them"
        )
    write_json(
        paths.fit_job(job),
        {
            "made_from": config.mark,
            "fingerprint": store.fingerprint,
            "job": job,
            "blocks": {i: {"state": r.state, "sha256": r.field_sha256, "bytes": r.field_bytes} for i, r in states.items() if r},
        },
    )


def job_blocks(paths: RunPaths, job: int) -> pd.DataFrame:
    """Rows of blocks.parquet that belong to one job, indexed by block id."""
    table = pd.read_parquet(paths.blocks, columns=["block_id", "job", "empty"])
    if not 0 <= job <= table["job"].max():
        raise InputError("--job", job, f"the plan has jobs 0 to {table['job'].max()}", "Give one of these")
    return table[table["job"] == job].set_index("block_id").sort_index()


class Fitter:
    """Fits many blocks in batches of equal shape, retrying unsound ones alone and more gently."""

    def __init__(
        self,
        config: Sections,
        store: RecordStore,
        measured: MeasuredBlocks,
        denoise: Denoise,
        prior: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.config, self.store, self.measured, self.denoise, self.device = config, store, measured, denoise, device
        self.n_neighbours, self.noise = prior["spec"]["neighbours"], prior["section_noise"]
        self.field_spec = config.field.for_detail(config.fit.detail)

    def fit(self, indices: list[int]) -> None:
        progress = Progress("fit", len(indices), "blocks")
        done = 0
        for batch in self._batches(indices):
            noisy = self.config.fit.mode == "distill" and self.config.fit.detail > 0
            data = [self.measured.block(i, self.config.run.seed, self.n_neighbours, noisy) for i in batch]
            for index in self._attempt(batch, data, attempt=1):
                self._retry(index, data[batch.index(index)])
            done += len(batch)
            progress.update(done)

    def _batches(self, indices: list[int]) -> Iterable[list[int]]:
        grid = self.measured.plan.block_grid
        axial, model = self.measured.axial, self.measured.plan.model
        groups: dict[tuple, list[int]] = {}
        for i in indices:
            read, field = grid[i].read_roi, grid[i].field_roi
            n_sections = len(model.whole_sections(axial, read.offset.z, read.end.z))
            groups.setdefault((read.shape, field.relative_to(read), n_sections), []).append(i)
        for (read_shape, *_), members in groups.items():
            size = self.config.fit.batch_blocks or self._fitting_batch(read_shape.volume)
            yield from (members[k : k + size] for k in range(0, len(members), size))

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
        payload = pack_field(result.fields, position, self.field_spec) if state == "done" else None
        self.store.publish(record, payload)
