"""Stage measure: how good the image is, block by block and as a whole."""

from __future__ import annotations

import copy
from collections import Counter
from math import ceil

import numpy as np
import pandas as pd

from isofield.blockrecords import BlockRecord
from isofield.config import Sections
from isofield.geometry import Roi
from isofield.interpolation import SPLINE_REACH, interpolation_matrix
from isofield.jobs import blocks_reaching, share
from isofield.omezarr.reading import ImageReader
from isofield.parallel import in_parallel
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import Progress
from isofield.quality.fsc import DirectionalFsc
from isofield.quality.seams import SeamScore
from isofield.quality.similarity import MARGIN, Similarity, data_range
from isofield.quality.spectra import DirectionalSpectra
from isofield.records import sealed, write_bytes_atomic, write_json
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.status import fitted_store, written_shards

BASELINES = ("nearest", "linear", "cubic")


def measure_run(config: Sections, paths: RunPaths) -> None:
    """Write metrics.json and metrics.parquet. Memory is bounded by one block per thread and its surroundings."""
    plan = Plan.load(paths.plan)
    measurer = Measurer(config, plan, paths)
    wanted = chosen_blocks(plan, config.quality.max_blocks)
    progress = Progress("measure", len(wanted), "blocks")
    rows = []
    # Records are read here, in one thread: packs are kept open for the next block.
    known = ((index, measurer.store.read(index)) for index in wanted)
    for row, part in in_parallel(measurer.alone, known, config.run.threads_per_job):
        rows.append(row)
        measurer.add(part)
        progress.update(len(rows))
    measurer.spectra()
    write_bytes_atomic(paths.block_metrics, pd.DataFrame(rows).to_parquet(index=False, write_page_checksum=True))
    write_json(paths.metrics, sealed({"made_from": config.mark, **measurer.summary()}))


def chosen_blocks(plan: Plan, at_most: int) -> list[int]:
    """Numbers, ascending, of the blocks that are measured: all, or one at random from each of `at_most` equal runs of them."""
    blocks = blocks_reaching(plan.block_grid, 0, plan.jobs.region)
    if len(blocks) <= at_most:
        return blocks.numbers(range(len(blocks)))
    rng = np.random.default_rng(0)
    runs = (share(len(blocks), at_most, part) for part in range(at_most))
    return [blocks.number(blocks.position(int(rng.integers(run.start, run.stop)))) for run in runs]


class Measurer:
    """Accumulates the metrics of one run."""

    def __init__(self, config: Sections, plan: Plan, paths: RunPaths) -> None:
        volume = open_source(config.source)
        self.config, self.plan, self.paths = config, plan, paths
        self.truth = volume.isotropic
        self.measured = MeasuredBlocks(volume, plan)
        self.grid, self.axial = plan.block_grid, plan.axial
        self.bounds = plan.jobs.region or self.grid.bounds
        self.store = fitted_store(paths)
        self.image = ImageReader(paths.isotropic)
        self.full_scale = data_range(plan.dtype, plan.intensity["low"], plan.intensity["high"])
        self._begin()
        self.spectrum: dict[str, DirectionalSpectra] = {}
        self.fsc: dict[str, DirectionalFsc] = {}

    def _begin(self) -> None:
        methods = ("isotropic", *BASELINES)
        self.similarity = {name: Similarity(self.full_scale) for name in methods} if self.truth is not None else {}
        self.seams = SeamScore(self.axial.ratio)
        self.residual = {"isotropic": 0.0, "cubic": 0.0}
        self.n_residual = 0

    def alone(self, block: tuple[int, BlockRecord | None]) -> tuple[dict[str, object], Measurer]:
        """Row of one block, and what it adds to the volume's figures; many threads may call this."""
        part = copy.copy(self)
        part._begin()
        return part.block(*block), part

    def add(self, part: Measurer) -> None:
        """Count what was measured of a block. Sums are taken in the order of calls."""
        for name, total in self.similarity.items():
            total.merge(part.similarity[name])
        self.seams.merge(part.seams)
        for name in self.residual:
            self.residual[name] += part.residual[name]
        self.n_residual += part.n_residual

    def block(self, index: int, record: BlockRecord | None) -> dict[str, object]:
        """Row of one block with this record, over what it owns."""
        owned = self.grid[index].write_roi.intersect(self.bounds)
        region = owned.grown((MARGIN,) * 3).intersect(self.bounds)
        image = self.image.region(region)
        row: dict[str, object] = {
            "block_id": index,
            "state": record.state if record else "missing",
            **{f"offset_{a}": o for a, o in zip("zyx", owned.offset, strict=True)},
            **{f"shape_{a}": s for a, s in zip("zyx", owned.shape, strict=True)},
        }
        if self.truth is not None:
            row |= self._against_truth(image, region, owned)
        row["residual_rms"] = self._against_sections(owned)
        row["seam"] = self._across_faces(owned)
        row["seconds"] = record.seconds if record else float("nan")
        row["attempts"] = record.attempts if record else 0
        row["message"] = record.message if record else "no record"
        return row

    def _against_truth(self, image: np.ndarray, region: Roi, write_roi: Roi) -> dict[str, float]:
        truth = self.truth_region(region)
        # With a ratio that is not whole the last plane can reach past the truth.
        known = Roi(region.offset, truth.shape)
        inner = write_roi.intersect(known).relative_to(region).slices
        inside = self.bounds.intersect(known)
        inside = inside.grown((-MARGIN,) * 3) if min(inside.shape) > 2 * MARGIN else inside
        interior = write_roi.intersect(inside).intersect(known).relative_to(region).slices
        row = {}
        for name, total in self.similarity.items():
            values = image if name == "isotropic" else self.baseline(name, region)
            own = Similarity(self.full_scale)
            own.add(values[: len(truth)], truth, inner, interior)
            total.merge(own)
            if name in ("isotropic", "cubic"):
                prefix = "" if name == "isotropic" else "cubic_"
                row[f"{prefix}psnr_db"], row[f"{prefix}ssim"] = own.psnr_db, own.summary()["ssim"]
        return row

    def truth_region(self, region: Roi) -> np.ndarray:
        """Truth over `region` of the output, in grey values."""
        origin = self.plan.measured_roi.offset
        z = int(origin.z * self.axial.ratio)
        shifted = region.shifted((z, origin.y, origin.x))
        return self.measured.volume.read_truth(shifted)[0]

    def baseline(self, kind: str, region: Roi) -> np.ndarray:
        """Interpolated sections over `region` in grey values, float32, not rounded."""
        touching = self.axial.sections_touching(region.offset.z, region.end.z)
        reach = 2 * SPLINE_REACH
        sections = range(max(0, touching.start - reach), min(self.axial.n_sections, touching.stop + reach))
        matrix = interpolation_matrix(self.axial, sections, region.offset.z, region.end.z, kind)  # type: ignore[arg-type]
        grey = self.measured.grey(sections, region).astype(np.float32)
        return np.tensordot(matrix.astype(np.float32), grey, axes=1)

    def _against_sections(self, write_roi: Roi) -> float:
        """Rms of A x - y over the sections that begin within the block, as a share of the contrast range."""
        sections = range(ceil(write_roi.offset.z / self.axial.ratio), ceil(write_roi.end.z / self.axial.ratio))
        sections = range(sections.start, min(sections.stop, self.axial.n_sections))
        # Of a part of the volume, the sections that reach beyond it are not there whole.
        while sections and self.plan.model.planes(self.axial, sections).stop > self.bounds.end.z:
            sections = sections[:-1]
        while sections and self.plan.model.planes(self.axial, sections).start < self.bounds.offset.z:
            sections = sections[1:]
        if not sections:
            return float("nan")
        reached = self.plan.model.planes(self.axial, sections)
        begin, end = reached.start, reached.stop
        region = Roi((begin, *write_roi.offset[1:]), (end - begin, *write_roi.shape[1:]))  # type: ignore[arg-type]
        believed = [k for k, section in enumerate(sections) if section not in self.measured.bad]
        if not believed:
            return float("nan")
        matrix = self.plan.model.matrix(self.axial, sections, begin, end)[believed]
        wanted = self.measured.grey(sections, region)[believed].astype(np.float64)
        contrast = self.plan.intensity["high"] - self.plan.intensity["low"]
        for name in self.residual:
            values = self.image.region(region) if name == "isotropic" else self.baseline(name, region)
            squares = np.square((np.tensordot(matrix, values.astype(np.float64), axes=1) - wanted) / contrast)
            self.residual[name] += float(squares.sum())
            if name == "isotropic":
                own = float(np.sqrt(squares.mean()))
        self.n_residual += wanted.size
        return own

    def _across_faces(self, write_roi: Roi) -> float:
        """Worst seam score of the block's own lower faces; nan at the volume's first blocks."""
        scores = []
        reach = self.config.quality.seam_reach_vox
        for axis in range(3):
            face = write_roi.offset[axis]
            if face == self.bounds.offset[axis]:
                continue
            begin, end = list(write_roi.offset), list(write_roi.end)
            begin[axis], end[axis] = face - reach, face + reach
            slab = Roi.between(begin, end).intersect(self.bounds)
            values = self.image.region(slab)
            scores.append(self.seams.add(values, self.baseline("cubic", slab), axis, face - slab.offset[axis]))
        return max(scores, default=float("nan"))

    def spectra(self) -> None:
        """Axial and lateral spectra of cubes spread over the volume, and their correlation with truth where it is known."""
        side = min(self.config.quality.spectrum_cube_vox, *self.bounds.shape)
        names = ["isotropic", "cubic"] + (["truth"] if self.truth is not None else [])
        self.spectrum = {name: DirectionalSpectra(side) for name in names}
        self.fsc = {name: DirectionalFsc(side, self.plan.voxel_size_nm) for name in names[:2]} if self.truth is not None else {}
        rng = np.random.default_rng(0)
        for _ in range(self.config.quality.n_spectrum_cubes):
            corner = tuple(int(rng.integers(n - side + 1)) for n in self.bounds.shape)
            cube = Roi(corner, (side,) * 3).shifted(self.bounds.offset)  # type: ignore[arg-type]
            images = {"isotropic": self.image.region(cube), "cubic": self.baseline("cubic", cube)}
            if self.truth is not None and self.truth_region(cube).shape == cube.shape:
                truth = self.truth_region(cube)
                for name, fsc in self.fsc.items():
                    fsc.add(images[name], truth)
                images["truth"] = truth
            for name, image in images.items():
                self.spectrum[name].add(image)

    def summary(self) -> dict[str, object]:
        """Contents of metrics.json."""
        squares = n_overlap = n_clipped = 0.0
        for shard in written_shards(self.paths, self.plan):
            squares += shard["overlap_sum_squares"]
            n_overlap += shard["n_overlap_vox"]
            n_clipped += shard["n_clipped"]
        overlap = np.sqrt(squares / n_overlap) / 2 if n_overlap else 0.0
        restored = 0.5 / float(self.axial.ratio)
        wanted = self.plan.jobs.blocks
        states = Counter(record["state"] for index, record in self.store.records() if index in wanted)
        n = max(1, self.n_residual)
        return {
            "run": self.plan.run_name,
            "data_range": self.full_scale,
            **{name: total.summary() for name, total in self.similarity.items()},
            "residual_rms": float(np.sqrt(self.residual["isotropic"] / n)),
            "residual_rms_cubic": float(np.sqrt(self.residual["cubic"] / n)),
            "seam_score": self.seams.worst,
            "seam_score_by_axis": self.seams.by_axis(),
            "seam_profile": self.seams.profile(),
            "overlap_rms": float(overlap),
            "spectral_ratio": {name: s.band_ratio(restored, 0.5) for name, s in self.spectrum.items()},
            "spectra": {
                "frequency_per_vox": next(iter(self.spectrum.values())).frequency,
                **{name: s.ratio() for name, s in self.spectrum.items()},
            },
            **({"fsc": self._resolution()} if self.fsc else {}),
            "clipped_fraction": n_clipped / self.bounds.volume,
            "n_blocks": dict(states.most_common()),
            "n_measured_blocks": len(chosen_blocks(self.plan, self.config.quality.max_blocks)),
            "shape": self.plan.shape,
            "voxel_size_nm": self.plan.voxel_size_nm,
        }

    def _resolution(self) -> dict[str, object]:
        """Correlation with truth by frequency, per image and direction, and the resolution in nm at one half."""
        found: dict[str, object] = {"frequency_per_vox": self.fsc["isotropic"].curve("axial")[0]}
        for name, fsc in self.fsc.items():
            for direction in ("axial", "lateral"):
                curve = {"correlation": fsc.curve(direction)[1], "resolution_nm": fsc.cutoff_nm(direction, 0.5)}
                found[f"{name}_{direction}"] = curve
        return found
