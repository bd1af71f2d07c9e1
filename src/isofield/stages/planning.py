"""Stage plan: look at the volume, fix everything that later stages must agree on, refuse what cannot work."""

from __future__ import annotations

import os
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from isofield.config import Sections
from isofield.cost import memory, storage
from isofield.defects.spec import BadSection
from isofield.errors import InputError
from isofield.intensity import Intensity
from isofield.jobs import share
from isofield.measurement import NEGLIGIBLE
from isofield.omezarr.metadata import level_shapes
from isofield.omezarr.own import require_own
from isofield.paths import RunPaths
from isofield.plan import Layout, Plan, lay_out
from isofield.progress import say
from isofield.records import fingerprint, publish_json_if_changed, sealed, write_bytes_atomic
from isofield.source import open_source
from isofield.source.apart import require_apart
from isofield.source.volume import Volume, VolumeInfo
from isofield.stages.inspecting import bad_sections
from isofield.stages.profiles import Profile, profile_in_use
from isofield.stages.sampling import empty_blocks, require_contrast, require_learnable, sample_crops
from isofield.stages.tables import read_table


def plan_run(config: Sections, paths: RunPaths) -> Plan:
    """Write plan.json and blocks.parquet, each only if its content changed. Raises InputError before writing anything."""
    require_apart(config.source, paths)
    volume = open_source(config.source)
    layout = lay_out(config, volume.info)
    require_own(paths.store)
    _require_truth_alignment(volume, layout)
    profile = profile_in_use(config, layout)
    require_learnable(volume.info.shape[2:], profile.model(layout), config.source.path)
    bad = bad_sections(volume, config.sections)
    crops = sample_crops(volume, config.intensity.n_sample_vox, config.run.seed, bad=frozenset(one.section for one in bad))
    grey = require_contrast(crops, config.source.path)
    intensity = Intensity.from_samples(grey, config.intensity)
    empty = empty_blocks(volume, layout, config.blocks.empty_below)
    projected = project(config, layout, np.dtype(volume.info.dtype))
    _require_memory(config, projected)
    plan = _compose(config, volume, layout, profile, intensity, bad, empty, projected)
    table = block_table(plan, empty)
    if publish_json_if_changed(paths.plan, sealed(plan)) or not holds_table(paths.blocks):
        write_bytes_atomic(paths.blocks, table.to_parquet(index=False, write_page_checksum=True))
    say(summary(plan))
    return plan


def _compose(
    config: Sections,
    volume: Volume,
    layout: Layout,
    profile: Profile,
    intensity: Intensity,
    bad: list[BadSection],
    empty: np.ndarray,
    projected: dict[str, float],
) -> Plan:
    info = volume.info
    # The profile that is simulated with is among the profile's facts, wherever its file lies.
    simulate = config.source.simulate and config.source.simulate.model_dump(include={"factor", "operator"})
    width = profile.kernel_nm or profile.fwhm_vox
    believed = [[one.section for one in bad]] if bad else []
    of_volume = fingerprint(
        info.identity, config.source.channel, simulate, layout.axial.ratio, profile.operator, width, intensity, *believed
    )
    # Which sections a block is fitted to follows from its place alone, unless their profiles reach beyond them.
    neglected = [NEGLIGIBLE] if max(profile.model(layout).overreach_vox) else []
    of_geometry = fingerprint(of_volume, layout.roi, layout.grid, *neglected)
    return Plan(
        made_from=config.mark,
        run_name=config.run.name,
        source=_describe(info, profile),
        source_spec=config.source.model_dump(mode="json"),
        ratio=str(layout.axial.ratio),
        operator=profile.operator,
        fwhm_vox=profile.fwhm_vox,
        kernel_nm=profile.kernel_nm,
        roi=(tuple(layout.roi.offset), tuple(layout.roi.shape)),
        voxel_size_nm=float(layout.voxel_size_nm),
        origin_nm=tuple(float(o * v) for o, v in zip(layout.roi.offset, info.voxel_size_nm, strict=True)),
        shape=tuple(layout.shape),
        dtype=info.dtype,
        intensity=intensity.to_dict(),
        grid={name: tuple(getattr(layout.grid, name)) for name in ("core", "context", "margin")},
        overlap_vox=config.blocks.overlap_vox,
        n_blocks=len(layout.jobs.blocks),
        n_empty_blocks=len(empty),
        n_fit_jobs=layout.n_fit_jobs,
        n_blend_jobs=layout.n_blend_jobs,
        n_shards=layout.n_shards,
        shard_vox=config.output.shard_vox,
        pyramid_span=layout.jobs.pyramid_span,
        region=layout.jobs.region and (tuple(layout.jobs.region.offset), tuple(layout.jobs.region.shape)),
        empty_below=config.blocks.empty_below,
        bad_sections=tuple(bad),
        has_truth=volume.isotropic is not None,
        projected=projected,
        fingerprints={"volume": of_volume, "geometry": of_geometry},
    )


def _describe(info: VolumeInfo, profile: Profile) -> dict[str, object]:
    return {
        "uri": info.uri,
        "format": info.format,
        "dataset": info.dataset,
        "shape_czyx": list(info.shape),
        "dtype": info.dtype,
        "voxel_size_nm": [str(v) for v in info.voxel_size_nm],
        "identity": info.identity | profile.identity,
    }


def block_table(plan: Plan, empty: np.ndarray) -> pd.DataFrame:
    """One row per block that is fitted: its place, its job, and whether it is known to be empty."""
    jobs, grid = plan.jobs, plan.block_grid
    z, y, x = (axis.ravel() for axis in np.indices(jobs.blocks.box.shape))
    positions = [axis + o for axis, o in zip((z, y, x), jobs.blocks.box.offset, strict=True)]
    numbers = np.ravel_multi_index(positions, grid.grid_shape)
    sizes = [len(share(len(numbers), jobs.n_fit, job)) for job in range(jobs.n_fit)]
    columns = {"block_id": numbers, "job": np.repeat(np.arange(jobs.n_fit), sizes), "empty": np.isin(numbers, empty)}
    for name, margin in (("write", (0, 0, 0)), ("read", grid.context)):
        for axis, letter in enumerate("zyx"):
            begin, end = grid.spans(axis, margin[axis])[positions[axis]].T
            columns |= {f"{name}_offset_{letter}": begin, f"{name}_shape_{letter}": end - begin}
    return pd.DataFrame(columns)


def holds_table(path: Path) -> bool:
    """Whether the table of blocks is there and whole."""
    try:
        read_table(path, "plan")
    except InputError:
        return False
    return True


def project(config: Sections, layout: Layout, dtype: np.dtype) -> dict[str, float]:
    """Memory per job and bytes and files on disk that a run with this layout needs."""
    grid = layout.grid
    seen, shard_vox = memory.largest_shape(grid, grid.context), config.output.shard_vox
    spec, batch = config.field.decided(config.fit.detail, layout.axial.ratio), config.fit.batch_blocks or 1
    levels = level_shapes(storage.made_shape(layout), config.output.pyramid_min_vox)
    n_bytes = {
        "fit_job_bytes": memory.fit_job_bytes(seen, batch, spec, layout.axial.ratio, config.fit.slice_share),
        "blend_job_bytes": memory.blend_job_bytes(seen, shard_vox, layout.shape, dtype.itemsize),
        "pyramid_job_bytes": memory.pyramid_job_bytes(shard_vox, layout.shape, dtype.itemsize),
        "fields_bytes": storage.fields_bytes(config, layout),
        "output_bytes": storage.image_bytes(levels, dtype.itemsize),
        "n_chunk_files": storage.n_chunk_files(config, layout),
        "n_files": storage.n_files(config, layout),
    }
    for stage in ("fit", "blend"):
        n_bytes[f"{stage}_job_bytes"] += memory.kept_reads_bytes(stage, config)
    return {name: float(value) for name, value in n_bytes.items()}


def _require_memory(config: Sections, projected: dict[str, float]) -> None:
    limit = config.run.memory_gb * 1e9 if config.run.memory_gb else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    blocks, shards = ("blocks.write_vox", config.blocks.write_vox), ("output.shard_vox", config.output.shard_vox)
    for stage, (key, value) in {"fit": blocks, "blend": shards, "pyramid": shards}.items():
        need = projected[f"{stage}_job_bytes"]
        if need > limit:
            raise InputError(
                key,
                value,
                f"a {stage} job would need {need / 1e9:.1f} GB, more than the {limit / 1e9:.1f} GB of run.memory_gb",
                f"Lower {key}{' or fit.batch_blocks' if stage == 'fit' else ''}, or raise run.memory_gb",
            )


def _require_truth_alignment(volume: Volume, layout: Layout) -> None:
    begin = layout.roi.offset.z * layout.axial.ratio
    if volume.isotropic is not None and begin.denominator != 1:
        whole = ceil(Fraction(layout.roi.offset.z) / layout.axial.ratio.denominator) * layout.axial.ratio.denominator
        raise InputError(
            "source.roi_nm",
            layout.roi.offset.z,
            "begins at a section whose edge falls between planes of the truth",
            f"Begin at section {whole}, at {float(whole * volume.info.voxel_size_nm[0]):g} nm",
        )


def summary(plan: Plan) -> str:
    """The plan in a few lines for a person."""
    p = plan.projected
    shape, voxel = " x ".join(map(str, plan.shape)), plan.voxel_size_nm
    n_chunks = p.get("n_chunk_files", 0)
    chunk_files = f", {n_chunks:.0f} of them chunks: OME-Zarr 0.4 knows no shards" if n_chunks else ""
    return (
        f"{plan.run_name}: {plan.source['shape_czyx'][1:]} measured -> {shape} voxels of {voxel:g} nm (ratio {plan.ratio})\n"
        f"{plan.n_blocks} blocks ({plan.n_empty_blocks} empty) in {plan.n_fit_jobs} fit jobs, "
        f"{plan.n_shards} shards in {plan.n_blend_jobs} blend jobs\n"
        f"memory per fit job {p['fit_job_bytes'] / 1e9:.1f} GB, per blend job {p['blend_job_bytes'] / 1e9:.1f} GB; "
        f"fields {p['fields_bytes'] / 1e9:.3f} GB, image up to {p['output_bytes'] / 1e9:.3f} GB, "
        f"at most {p['n_files']:.0f} files{chunk_files}"
    )
