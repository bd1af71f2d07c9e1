"""A rendering written as an OME-Zarr of its own, shard by shard; an interrupted one goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from isofield.errors import InputError
from isofield.geometry import exact_nm
from isofield.omezarr.canvas import canvas_files, image_attributes, set_provenance
from isofield.omezarr.metadata import PROVENANCE_KEY, level_shapes
from isofield.omezarr.pyramid import downsample_shard
from isofield.omezarr.spec import NgffVersion, OutputSpec
from isofield.omezarr.store import missing_shards, write_shard
from isofield.omezarr.window import display_window
from isofield.paths import RunPaths, expand
from isofield.plan import Plan
from isofield.progress import Progress
from isofield.records import fingerprint, read_json
from isofield.source import open_source
from isofield.source.spec import SourceSpec
from isofield.source.volume import Volume
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device
from isofield.stages.imaging import provenance
from isofield.stages.rendering import Lattice, PointRenderer, render_part, require_fields
from isofield.status import current_store
from isofield.storage.place import place_of
from isofield.storage.uri import WRITABLE, checked_uri, is_remote

RENDER_CODE = 1
"""Version of how fields are evaluated: a rendering that another one began is not continued."""


@dataclass(frozen=True)
class RenderRequest:
    """What to render of a run and where to. region: begin and end along z, y, x in nm from the image's first edge, or None.

    out: a local path, s3:// or gs://. source: where the measured volume lies now; None: where it lay. ome_zarr None: the run's.
    """

    size_nm: tuple[Fraction, Fraction, Fraction]
    out: str
    region: tuple[tuple[Fraction, Fraction], ...] | None = None
    ome_zarr: NgffVersion | None = None
    source: str | None = None
    device: str = "cpu"
    threads: int = 2
    overwrite: bool = False


def render_run(paths: RunPaths, request: RenderRequest) -> dict[str, Any]:
    """Render a run whose fields were kept; returns what was made. Raises InputError before anything is written, see there.

    Memory: one shard of the result, SAMPLES_AT_ONCE points and KEPT_FIELDS fields, however large the rendering is.
    """
    plan = Plan.load(paths.plan)
    store = current_store(paths)
    if store is None:
        raise InputError("run", str(paths.root), "has no fitted fields yet", "Run the workflow with run.keep_fields: true")
    require_fields(store, plan)
    voxel = exact_nm(plan.voxel_size_nm)
    lattice = Lattice.over(plan.shape, voxel, request.size_nm, request.region)
    out = _destination(request.out)
    device = choose_device(request.device, request.threads)
    renderer = PointRenderer(store, MeasuredBlocks(_volume(plan, request.source), plan), device)
    spec = OutputSpec.model_validate(read_json(paths.canvas)["output"])
    spec = spec.model_copy(update={"ome_zarr": request.ome_zarr or spec.ome_zarr})
    about = {
        "voxel_size_nm": [float(size) for size in request.size_nm],
        "roi": lattice.roi,
        "points_per_voxel": lattice.n_points,
        "run": plan.run_name,
    }
    mark = fingerprint(RENDER_CODE, store.fingerprint, plan.fingerprints, request.size_nm, lattice.roi, plan.dtype, spec.ome_zarr)
    made = {**provenance(plan, paths), "rendering": {**about, "fingerprint": mark, "complete": False}}
    origin = [o + float(b * size) for o, b, size in zip(plan.origin_nm, lattice.roi.offset, request.size_nm, strict=True)]
    canvas = {"voxel_size_nm": about["voxel_size_nm"], "origin_nm": origin, "name": "rendered", "provenance": made}
    _begin(out, canvas_files(lattice.roi.shape, plan.dtype, spec, **canvas), mark, request.overwrite)
    _write(out, len(level_shapes(lattice.roi.shape, spec.pyramid_min_vox)), renderer, lattice, plan)
    made["rendering"]["complete"] = True
    set_provenance(out, made, display_window(out, (plan.intensity["low"], plan.intensity["high"])))
    facts = {"image": str(out), "ome_zarr": spec.ome_zarr, "shape": list(lattice.roi.shape), "dtype": plan.dtype}
    return {**facts, "voxel_size_nm": about["voxel_size_nm"], "origin_nm": origin, "points_per_voxel": list(lattice.n_points)}


def _begin(out: str, files: dict[str, bytes], mark: str, overwrite: bool) -> None:
    """Make the empty image, or keep the one that this rendering began."""
    place = place_of(out, "--out")
    if not place.empty():
        there = image_attributes(out).get(PROVENANCE_KEY, {})
        if "rendering" not in there:
            raise InputError("--out", out, "is there and is no rendering", "Give another --out; this is never overwritten")
        if there["rendering"]["fingerprint"] == mark:
            return
        if not overwrite:
            raise InputError("--out", out, "holds another rendering", "Give another --out, or --overwrite")
    place.replace(files)


def _write(out: str, n_levels: int, renderer: PointRenderer, lattice: Lattice, plan: Plan) -> None:
    """All shards that are not there yet, level by level."""
    missing = [(level, roi) for level in range(n_levels) for roi in missing_shards(out, level)]
    progress = Progress("render", len(missing), "shards")
    for done, (level, roi) in enumerate(missing, start=1):
        if level:
            downsample_shard(out, level, roi)
        else:
            write_shard(out, 0, roi, render_part(renderer, lattice, plan, roi))
        progress.update(done)


def _destination(text: str) -> str:
    out = expand(text, "--out")
    return checked_uri(out, "--out", WRITABLE) if is_remote(out) else os.path.abspath(out)


def _volume(plan: Plan, source: str | None) -> Volume:
    """The measured volume of a run. Raises InputError unless it is the one that the fields were fitted to."""
    spec: dict[str, Any] = {**plan.source_spec, **({"path": source} if source else {})}
    if "path" not in spec:
        raise InputError("plan", plan.run_name, "was made by an earlier version", "Run the plan stage again")
    volume = open_source(SourceSpec.model_validate(spec))
    # Where a file lies and when it was copied there do not matter to what it holds.
    moved = source and not source.startswith("phantom:")
    ignored = ("path", "mtime_ns", "listing") if moved else ()
    then, now = (_without(identity, ignored) for identity in (plan.source["identity"], volume.info.identity))
    changed = [name for name, value in now.items() if then.get(name) != value]
    if changed or list(volume.info.shape) != plan.source["shape_czyx"]:
        limit = f"is not the volume that the fields were fitted to ({', '.join(changed) or 'shape'} differs)"
        raise InputError("--source" if source else "source.path", spec["path"], limit, "Give its present place with --source")
    return volume


def _without(identity: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key not in names}
