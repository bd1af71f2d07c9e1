"""Stages canvas, pyramid and finish: the empty image before blending, its coarser levels and provenance after."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from isofield import __version__
from isofield.config import Sections
from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.locking import job_lock
from isofield.omezarr import labels
from isofield.omezarr.canvas import create_canvas, level_documents, set_provenance
from isofield.omezarr.metadata import level_shapes
from isofield.omezarr.pyramid import below, downsample_shard, level_shards
from isofield.omezarr.reading import is_written
from isofield.omezarr.regions import Claim, lay_claim, others
from isofield.omezarr.settling import until_settled, versions
from isofield.omezarr.window import display_window
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import Progress
from isofield.records import read_json, sealed, sweep_partials, write_json
from isofield.storage.place import place_of

METHOD = "implicit neural fields distilled from a 2-D diffusion prior (Lee & Jeong, MICCAI 2024, arXiv 2408.08616)"
STALE_S = 3600.0
"""Age from which an unfinished file cannot belong to a writer that is still alive."""


def make_canvas(config: Sections, paths: RunPaths) -> None:
    """Create the empty image, or keep it when it already is the one the plan asks for."""
    plan = Plan.load(paths.plan)
    sweep_partials(paths.root, STALE_S)
    shared = False
    if paths.image:
        place_of(paths.store, "output.path").sweep(STALE_S)
        shared = any(paths.channel is None or not _sibling(other.owner, paths) for other in others(paths.store, owner(paths)))
    where = {"voxel_size_nm": (plan.voxel_size_nm,) * 3, "origin_nm": plan.origin_nm, "n_channels": config.output.n_channels}
    # Units of several channels may come to it at the same time: whoever is second finds the image made.
    with nullcontext() if paths.channel is None else job_lock(paths.root.parent, "canvas"):
        create_canvas(paths.store, plan.shape, plan.dtype, config.output, **where, replace=not shared)
        labels.create_labels(paths.store, plan.shape, config.output, **where, replace=not shared)
    if paths.image:
        lay_claim(paths.store, claim_of(plan, paths))
    facts = {"made_from": config.mark, "shape": plan.shape, "dtype": plan.dtype, "output": config.output}
    if paths.channel is not None:
        facts["channel"] = paths.channel
    documents = level_documents(paths.store)
    write_json(paths.canvas, sealed({**facts, "image": paths.image and str(paths.store), "documents": documents}))


def require_canvas(paths: RunPaths) -> None:
    """Raises InputError if the metadata of a level are no longer what they were: shards would be written to another image."""
    made = read_json(paths.canvas).get("documents") if paths.canvas.exists() else None
    if made is not None and made != (there := level_documents(paths.store)):
        changed = sorted(key for key in made.keys() | there.keys() if made.get(key) != there.get(key))
        limit = f"{', '.join(changed)} changed or damaged after it was written"
        remedy = f"isofield verify {paths.root} --repair writes it anew; then run again"
        raise InputError("image", str(paths.store), limit, remedy)


def _sibling(other: str, paths: RunPaths) -> bool:
    """Whether the owner of a claim makes another channel of the same run."""
    return Path(other).parent == paths.root.resolve().parent


def owner(paths: RunPaths) -> str:
    """What a run is known as to others that fill the same image."""
    return str(paths.root.resolve())


def claim_of(plan: Plan, paths: RunPaths, fit: str | None = None, finished: bool = False) -> Claim:
    """The claim of a run on the part of the image, or of one channel of it, that it makes."""
    made = plan.jobs.region or plan.block_grid.bounds
    return Claim(
        owner=owner(paths),
        region=(tuple(made.offset), tuple(made.shape)),
        geometry=plan.fingerprints["geometry"],
        fit=fit,
        channel=paths.channel,
        finished=finished,
    )


def build_pyramid(config: Sections, paths: RunPaths, job: int) -> None:
    """The coarser levels of one job's part of the image, as far as they depend on that part alone."""
    plan = Plan.load(paths.plan)
    jobs = plan.jobs
    if not 0 <= job < len(jobs.pyramid):
        raise InputError("--job", job, f"the plan has pyramid jobs 0 to {len(jobs.pyramid) - 1}", "Give one of these")
    require_canvas(paths)
    region = jobs.pyramid_region(job)
    shapes = level_shapes(plan.shape, config.output.pyramid_min_vox)
    own = range(1, min(len(shapes), plan.pyramid_span.bit_length()))
    _downsample(
        plan, paths, f"pyramid job {job}", [(k, roi) for k in own for roi in level_shards(shapes[k], region, k, plan.shard_vox)]
    )
    write_json(paths.pyramid_job(job), {"made_from": config.mark, "job": job, "levels": shapes[: own.stop]})


def finish_image(config: Sections, paths: RunPaths) -> None:
    """The coarsest levels, to which all jobs contribute, then the display window and the provenance.

    Where the run makes one channel of several, these are written by stage join, once for all of them.
    """
    plan = Plan.load(paths.plan)
    shapes = level_shapes(plan.shape, config.output.pyramid_min_vox)
    require_canvas(paths)
    whole = Roi(ZYX(0, 0, 0), ZYX(*plan.shape))
    common = range(plan.pyramid_span.bit_length(), len(shapes))
    _downsample(plan, paths, "finish", [(k, roi) for k in common for roi in level_shards(shapes[k], whole, k, plan.shard_vox)])
    if paths.channel is None:
        _describe(plan, paths)
    if paths.image:
        lay_claim(paths.store, claim_of(plan, paths, read_json(paths.current_fit)["fingerprint"], finished=True))
    write_json(paths.finish, {"made_from": config.mark, "levels": shapes})


def _downsample(plan: Plan, paths: RunPaths, what: str, work: list[tuple[int, Roi]]) -> None:
    """Of an image that several runs fill, what lies over parts that are still missing is left to the run that makes them, and
    what lies over parts of several runs is made by each of them, as they come to it."""
    image, origin = paths.isotropic, labels.location(paths.isotropic)
    progress = Progress(what, len(work), "shards")

    def make(level: int, roi: Roi) -> None:
        # Labels first: whoever finds a shard of the image finds its labels too.
        downsample_shard(origin, level, roi, labels.highest_2x2x2)
        downsample_shard(image, level, roi)

    for done, (level, roi) in enumerate(work, start=1):
        if not reaches_beyond(plan, level, roi):
            make(level, roi)
        elif is_written(image, level - 1, under := below(image, level, roi)):
            until_settled(
                lambda level=level, under=under: [versions(path, level - 1, under) for path in (origin, image)],
                partial(make, level, roi),
            )
        progress.update(done)


def reaches_beyond(plan: Plan, level: int, roi: Roi) -> bool:
    """Whether some of a level's `roi` stands for voxels that this run does not make."""
    if plan.region is None:
        return False
    at_origin = Roi.between((o << level for o in roi.offset), (e << level for e in roi.end))
    return not Roi(*plan.region).contains(at_origin.intersect(plan.block_grid.bounds))  # type: ignore[arg-type]


def _describe(plan: Plan, paths: RunPaths) -> None:
    """Write provenance and display window: until no other, with what other runs have made meanwhile, would be taken."""
    contrast, written = (plan.intensity["low"], plan.intensity["high"]), None
    while (window := display_window(paths.store, contrast)) != written:
        set_provenance(paths.store, provenance(plan, paths), window)
        written = window
        if plan.region is None:
            return


def provenance(plan: Plan, paths: RunPaths) -> dict[str, object]:
    """How the image came to be, for the attributes of its group."""
    facts = read_json(paths.prior_facts)
    return {
        "version": __version__,
        "method": METHOD,
        "source": {key: plan.source[key] for key in ("uri", "format", "dataset", "shape_czyx", "voxel_size_nm")},
        "measurement": {
            "ratio": plan.ratio,
            "operator": plan.operator,
            "fwhm_vox": plan.fwhm_vox,
            "kernel_sha256": plan.source["identity"].get("kernel"),
        },
        "bad_sections": [one.section for one in plan.bad_sections],
        "intensity": {**plan.intensity, "map": "grey = (value + 1) * (high - low) / 2 + low"},
        "fingerprints": {
            **plan.fingerprints,
            "fit": read_json(paths.current_fit)["fingerprint"],
            "prior": facts["fingerprint"],
        },
        "seed": facts["seed"],
        "software": _software(),
    }


def _software() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "torch", "zarr")}
