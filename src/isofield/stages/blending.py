"""Stage blend: fields gathered into output shards, each written once and whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch

from isofield.blend import Windows, gather
from isofield.config import Sections
from isofield.cost.memory import RENDERED_BLOCKS
from isofield.errors import InputError
from isofield.field.checkpoint import unpack_field
from isofield.field.fit import render_slab
from isofield.field.representation import X, Y
from isofield.fieldstore import FieldStore
from isofield.geometry import Roi
from isofield.intensity import clipped_count, to_dtype
from isofield.omezarr import labels
from isofield.omezarr.regions import lay_claim
from isofield.omezarr.store import Location, shard_sha256, write_shard
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import Progress
from isofield.records import sealed, write_json
from isofield.shardrecords import ShardRecords, shard_key
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device
from isofield.stages.imaging import claim_of, require_canvas
from isofield.stages.labelling import origin_labels
from isofield.status import fitted_store

INTERPOLATED = ("skipped", "fallback")
"""States of blocks that have no field, and whose place the cubic interpolation of the sections takes."""
SLAB_SHARE = 0.5
"""A part of a field of up to this share along y or x is rendered alone: shards reach a few voxels into blocks around them."""


def blend_job(config: Sections, paths: RunPaths, job: int) -> None:
    """Write the shards of one job from all fields that reach into them, then publish the job's record.

    A shard whose file is whole and was made from the same fields is kept.
    """
    plan = Plan.load(paths.plan)
    # Jobs of this stage ask the cluster for no GPU, and the image is the same to the last bit wherever they run.
    device = choose_device("cpu", config.run.threads_per_job)
    store = fitted_store(paths)
    require_canvas(paths)
    if paths.image:
        lay_claim(paths.store, claim_of(plan, paths, store.fingerprint))
    renderer = BlockRenderer(store, MeasuredBlocks(open_source(config.source), plan), device)
    windows = Windows(plan.block_grid, plan.overlap_vox)
    rois = job_shards(plan, job)
    progress = Progress(f"blend job {job}", len(rois), "shards")
    kept, records = ShardRecords(paths.shards, job), []
    for done, roi in enumerate(rois, start=1):
        records.append(blend_shard(roi, windows, renderer, plan, paths, kept))
        progress.update(done)
    kept.pack(shard_key(roi, plan.shard_vox) for roi in rois)
    write_json(paths.blend_job(job), sealed({"made_from": config.mark, "job": job, "shards": records}))


def job_shards(plan: Plan, job: int) -> list[Roi]:
    if not 0 <= job < plan.n_blend_jobs:
        raise InputError("--job", job, f"the plan has blend jobs 0 to {plan.n_blend_jobs - 1}", "Give one of these")
    return plan.jobs.blend_shards(job)


def blend_shard(
    roi: Roi, windows: Windows, renderer: BlockRenderer, plan: Plan, paths: RunPaths, kept: ShardRecords
) -> dict[str, object]:
    """Write one shard's labels, blend and write its voxels; returns its record, which is kept too."""
    touching = windows.grid.touching(roi, windows.overlap)
    mark = plan.shard_mark(roi, [renderer.mark(i) for i in touching])
    origin = labels.location(paths.isotropic)
    key, there = shard_key(roi, plan.shard_vox), shard_sha256(paths.isotropic, 0, roi)
    record = kept.read(key) if there else None
    if record and record["fingerprint"] == mark and record["sha256"] == there:
        if record["labels"]["sha256"] != shard_sha256(origin, 0, roi):
            record["labels"] = write_labels(origin, roi, renderer, plan)
            kept.write(key, record)
        return record
    # Before the voxels: whoever finds these finds the labels too.
    labelled = write_labels(origin, roi, renderer, plan)
    blended = gather(roi, windows, renderer.render)
    if not np.isfinite(blended.values).all():
        renderer.refuse(touching)
    grey = plan.contrast.restore(blended.values)
    written = write_shard(paths.isotropic, 0, roi, to_dtype(grey, plan.dtype))
    record = {
        "fingerprint": mark,
        "offset": roi.offset,
        "shape": roi.shape,
        "side": plan.shard_vox,
        "sha256": written.sha256,
        "bytes": written.n_bytes,
        **({"chunk": written.chunk} if written.chunk else {}),
        "n_clipped": clipped_count(grey, plan.dtype),
        "overlap_sum_squares": blended.overlap_sum_squares,
        "n_overlap_vox": blended.n_overlap_vox,
        "labels": labelled,
    }
    kept.write(key, record)
    return kept.read(key)  # type: ignore[return-value]


def write_labels(origin: Location, roi: Roi, renderer: BlockRenderer, plan: Plan) -> dict[str, object]:
    """Write where a shard's voxels come from to the label image `origin`; returns what its record says of that."""
    values = origin_labels(plan, roi, renderer.state)
    written = write_shard(origin, 0, roi, values)
    return {"sha256": written.sha256, "bytes": written.n_bytes, "n_vox": labels.counted(values)}


class BlockRenderer:
    """Renders fields, or just the slices of them that are asked for. Blocks without one are interpolated.

    Whole blocks are kept for the next shards. What a part of a block is rendered from depends on the part alone, never on what
    happens to be kept: results do not depend on the order of the work.
    """

    def __init__(self, store: FieldStore, measured: MeasuredBlocks, device: torch.device) -> None:
        self.store, self.measured, self.device = store, measured, device
        self.grid = measured.plan.block_grid
        self.kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def mark(self, index: int) -> str:
        """What the rendered values of a block depend on. Raises InputError if the block is not done."""
        record = self.store.read(index)
        if record is None or record.state not in ("done", *INTERPOLATED):
            raise InputError("block", index, "has no finished field", "Run the fit stage again: it does just what is missing")
        return record.mark

    def refuse(self, indices: Sequence[int]) -> NoReturn:
        """Raise InputError for those of the blocks whose values are not all finite numbers; they are fitted anew."""
        wrong = [i for i in indices if not np.isfinite(self.whole(i)).all()]
        for index in wrong:
            self.store.withdraw(index)
        shown = ", ".join(map(str, wrong[:20])) + (" ..." if len(wrong) > 20 else "")
        raise InputError("blocks", shown, "have values that are no finite numbers", "Run again: they are fitted anew")

    def state(self, index: int) -> str:
        """State of a block's record."""
        record = self.store.read(index)
        return record.state if record else "missing"

    def render(self, index: int, part: Roi) -> np.ndarray:
        """float32 values in working units over `part` of the block's field_roi."""
        field = self.grid[index].field_roi
        axis = min((Y, X), key=lambda one: part.shape[one] / field.shape[one])
        if part.shape[axis] > SLAB_SHARE * field.shape[axis]:
            return self.whole(index)[part.relative_to(field).slices]
        begin, end = list(field.offset), list(field.end)
        begin[axis], end[axis] = part.offset[axis], part.end[axis]
        slab = Roi.between(begin, end)
        values = self._rendered(index, slab, axis, slab.relative_to(field).offset[axis])
        return values[part.relative_to(slab).slices]

    def whole(self, index: int) -> np.ndarray:
        """float32 (Z, Y, X) in working units over the block's field_roi."""
        if index not in self.kept:
            while len(self.kept) >= RENDERED_BLOCKS:
                self.kept.popitem(last=False)
            self.kept[index] = self._rendered(index, self.grid[index].field_roi, Y, 0)
        self.kept.move_to_end(index)
        return self.kept[index]

    def _rendered(self, index: int, region: Roi, axis: int, first: int) -> np.ndarray:
        """Values over the slices of the field from `first` on across `axis`, which make up `region`."""
        base = self.measured.base(region)
        record = self.store.read(index)
        if record is not None and record.state in INTERPOLATED:
            return base
        payload = self.store.payload(index)
        if payload is None:
            self.store.withdraw(index)
            limit = f"the field in {self.store.folder} is gone or was damaged after it was written"
            raise InputError("block", index, limit, "Run again: it is fitted anew")
        field = unpack_field(payload, self.device)
        return render_slab(field, torch.from_numpy(base)[None].to(self.device), axis, first)[0].cpu().numpy()
