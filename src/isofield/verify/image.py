"""Every shard of every level: it is there, decodes, is what its record says, and is the mean of the finer level.

A shard is read once and decoded once, in slabs of a chunk or two, and compared with what lies over it in the coarser level
on the way; of that one shard is held besides. Levels are taken to be what the plan makes them, whatever their metadata say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from isofield.geometry import ZYX, Roi
from isofield.omezarr.labels import highest_2x2x2
from isofield.omezarr.pyramid import level_shards
from isofield.omezarr.readback import DamagedShardError, Level, StoredShard
from isofield.parallel import in_parallel
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.verify.expected import Vouched, makers
from isofield.verify.finding import Finding, Repair
from isofield.verify.means import rounded_means


@dataclass
class Looked:
    """What was looked at: shards that should be there, those of them that were decoded, and how much that was."""

    n_shards: int = 0
    n_decoded: int = 0
    n_compared_vox: int = 0
    n_waiting: int = 0
    """Shards of coarser levels over parts of the image that other runs have yet to make, or are at."""
    n_vox: int = 0
    n_bytes: int = 0
    """Bytes read of decoded shards, as stored."""
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Looked) -> None:
        for name in ("n_shards", "n_decoded", "n_compared_vox", "n_waiting", "n_vox", "n_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings += other.findings


class Coarser(NamedTuple):
    """How a coarser level follows from a finer one: in a word, and as a function of its voxels."""

    word: str
    of: Callable[[np.ndarray], np.ndarray]


MEAN, HIGHEST = Coarser("mean", rounded_means), Coarser("highest", highest_2x2x2)

Task = tuple[int, Roi | None, list[Roi], bool]
"""(level, the shard of the coarser one over them or None, shards of the level, whether they are decoded)."""


class ImageCheck:
    """Checks the levels of a run's image.

    chosen: (level, shard of the coarser level) -> whether what lies under it is decoded; what is not is only looked for.
    coarser: what coarser levels are of finer ones; folder: where the levels lie within the image, ends in a slash or is empty.
    unfinished: parts of the image that other runs are at, as far as is known.
    """

    def __init__(
        self,
        plan: Plan,
        paths: RunPaths,
        levels: list[Level],
        vouched: Vouched,
        chosen: Callable[[int, Roi], bool],
        coarser: Coarser = MEAN,
        folder: str = "",
        unfinished: Sequence[Roi] = (),
    ) -> None:
        self.plan, self.paths, self.levels, self.vouched, self.chosen = plan, paths, levels, vouched, chosen
        self.coarser, self.folder, self.unfinished = coarser, folder, unfinished
        self.region = plan.jobs.region or plan.block_grid.bounds
        self.grid = plan.block_grid

    def run(self, n_threads: int) -> Iterator[Looked]:
        """What was found, piece by piece."""
        yield from in_parallel(self._look, self._tasks(), n_threads)

    @property
    def n_tasks(self) -> int:
        return sum(1 for _ in self._tasks())

    def _tasks(self) -> Iterator[Task]:
        for level in range(len(self.levels)):
            if level + 1 == len(self.levels):
                for roi in self._own(level):
                    yield level, None, [roi], self.chosen(level, roi)
                continue
            for over in self._own(level + 1):
                under = _doubled(over).intersect(Roi(ZYX(0, 0, 0), self.levels[level].shape))
                shards = level_shards(self.levels[level].shape, _at_origin(under, level), level, self.plan.shard_vox)
                own = [roi for roi in shards if not _at_origin(roi, level).intersect(self.region).empty]
                yield level, over, own, self.chosen(level + 1, over)

    def _own(self, level: int) -> list[Roi]:
        return level_shards(self.levels[level].shape, self.region, level, self.plan.shard_vox)

    def _look(self, task: Task) -> Looked:
        level, over, shards, decoded = task
        looked = Looked(n_shards=len(shards))
        if not decoded:
            for roi in shards:
                self._look_for(level, roi, looked)
            return looked
        coarse = self.levels[level + 1].load(over) if over is not None else None
        # Pairs of planes of which a mean is taken lie in one shard, unless its side is odd.
        groups = [[roi] for roi in shards] if self.plan.shard_vox % 2 == 0 else [shards]
        for group in groups:
            loaded = [one for roi in group if (one := self._load(level, roi, looked)) is not None]
            whole = len(loaded) == len(group)
            self._decode(level, loaded, coarse if whole else None, over, looked)
        return looked

    def _look_for(self, level: int, roi: Roi, looked: Looked) -> None:
        size, vouched = self.levels[level].size(roi), self.vouched.of(roi) if level == 0 else None
        if not size:
            self._missing(level, roi, looked)
        elif vouched and vouched[1] != size:
            looked.findings.append(self._finding(level, roi, f"has {size} bytes, its record says {vouched[1]}"))

    def _missing(self, level: int, roi: Roi, looked: Looked) -> None:
        if level and self.plan.region is not None and (self._awaited(level, roi) or not self._complete(level - 1, roi)):
            looked.n_waiting += 1
        else:
            looked.findings.append(self._finding(level, roi, "is missing, or an empty file"))

    def _awaited(self, level: int, roi: Roi) -> bool:
        """Whether another run is at some of what a shard stands for: it makes the shard, perhaps again, once it comes to it."""
        return any(not _at_origin(roi, level).intersect(part).empty for part in self.unfinished)

    def _complete(self, level: int, over: Roi) -> bool:
        """Whether all of a level that a shard of the coarser one is the mean of is there."""
        under = _doubled(over).intersect(Roi(ZYX(0, 0, 0), self.levels[level].shape))
        shards = level_shards(self.levels[level].shape, _at_origin(under, level), level, self.plan.shard_vox)
        return all(self.levels[level].size(roi) for roi in shards)

    def _load(self, level: int, roi: Roi, looked: Looked) -> StoredShard | None:
        shard = self.levels[level].load(roi)
        if shard is None:
            self._missing(level, roi, looked)
            return None
        looked.n_bytes += len(shard.content)
        vouched = self.vouched.of(roi) if level == 0 else None
        if vouched and (hashlib.sha256(shard.content).hexdigest(), len(shard.content)) != vouched:
            looked.findings.append(self._finding(level, roi, f"is not what its record says: {self._state(level, shard)}"))
            return None
        return shard

    def _state(self, level: int, shard: StoredShard) -> str:
        """In words, of a shard with other bytes than were written: whether it can be decoded, and where not."""
        for begin in range(shard.roi.offset.z, shard.roi.end.z, self._step(level)):
            slab = Roi.between((begin, *shard.roi.offset[1:]), (begin + self._step(level), *shard.roi.end[1:]))
            try:
                shard.decoded(slab.intersect(shard.roi))
            except DamagedShardError as damage:
                return _damage(damage)
        return "other bytes, which can be decoded"

    def _step(self, level: int) -> int:
        """Planes that are decoded together: whole chunks, an even number."""
        side = self.levels[level].chunk.z
        return side if side % 2 == 0 else 2 * side

    def _decode(
        self, level: int, shards: list[StoredShard], coarse: StoredShard | None, over: Roi | None, looked: Looked
    ) -> None:
        """Decode shards that lie side by side, and compare their means with what of `coarse` lies over them."""
        if not shards:
            return
        box = _around([shard.roi for shard in shards])
        if any(o % 2 or (e % 2 and e < n) for o, e, n in zip(box.offset, box.end, self.levels[level].shape, strict=True)):
            coarse = None  # Shards of odd sides at the border of what another run makes: pairs of planes are not all here.
        step = self._step(level)
        n_wrong, first, sound = 0, None, set(shards)
        for begin in range(box.offset.z, box.end.z, step):
            slab = Roi.between((begin, *box.offset[1:]), (min(begin + step, box.end.z), *box.end[1:]))
            fine = np.empty(slab.shape, self.levels[level].dtype)
            for shard in shards:
                part = shard.roi.intersect(slab)
                if shard in sound and not part.empty and not self._fill(level, shard, part, slab, fine, looked):
                    sound.discard(shard)
            if coarse is None or len(sound) < len(shards):
                continue
            above = _halved(slab)
            try:
                stored = coarse.decoded(above)
            except DamagedShardError:
                coarse = None  # It is named where it is looked at itself.
                continue
            differs = stored != self.coarser.of(fine)
            looked.n_compared_vox += stored.size
            if differs.any():
                n_wrong += int(differs.sum())
                first = first or above.offset + ZYX(*(int(i) for i in np.argwhere(differs)[0]))
        for shard in sound:
            looked.n_decoded += 1
            looked.n_vox += shard.roi.volume
            gaps = [self._finding(level, shard.roi, gap) for gap in shard.gaps()]
            looked.findings += gaps
            first = None if gaps else first
        if first is not None and over is not None and self._awaited(level + 1, over):
            looked.n_waiting += 1
        elif first is not None and over is not None:
            what = f"is not the {self.coarser.word} of level {level} at {n_wrong} voxels, the first at {tuple(first)}"
            looked.findings.append(self._finding(level + 1, over, what, "pyramid"))

    def _fill(self, level: int, shard: StoredShard, part: Roi, slab: Roi, fine: np.ndarray, looked: Looked) -> bool:
        try:
            values = shard.decoded(part)
        except DamagedShardError as damage:
            looked.findings.append(self._finding(level, shard.roi, f"is damaged: {_damage(damage)}"))
            return False
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            at = part.offset + ZYX(*(int(i) for i in np.argwhere(~np.isfinite(values))[0]))
            n = int(np.count_nonzero(~np.isfinite(values)))
            looked.findings.append(self._finding(level, shard.roi, f"holds {n} values that are not finite, one at {tuple(at)}"))
            return False
        fine[part.relative_to(slab).slices] = values
        return True

    def _finding(self, level: int, roi: Roi, what: str, check: str = "shard") -> Finding:
        key = self.levels[level].key(roi)
        at_origin = _at_origin(roi, level).intersect(self.grid.bounds)
        blocks = tuple(self.grid.touching(at_origin, self.plan.overlap_vox)) if level == 0 else ()
        repairs = (Repair("image", f"{self.folder}{key}"), *makers(self.paths, self.plan, level, roi))
        return Finding(check, what, self.levels[level].place.locate(key), level, roi, blocks, repairs)  # type: ignore[arg-type]


def blamed_once(findings: list[Finding]) -> list[Finding]:
    """Without those that say that a coarser shard does not follow from a finer one which itself follows from none.

    With shards that are damaged nothing is compared in the first place.
    """
    wrong = {(one.level, one.roi) for one in findings if one.check == "pyramid"}

    def follows(one: Finding) -> bool:
        if one.check != "pyramid" or one.level is None or one.roi is None:
            return False
        under = _doubled(one.roi)
        return any(level == one.level - 1 and roi is not None and not roi.intersect(under).empty for level, roi in wrong)

    return [one for one in findings if not follows(one)]


def _damage(damage: DamagedShardError) -> str:
    return f"{damage.what}, at z y x {tuple(damage.roi.offset)}"


def _around(rois: list[Roi]) -> Roi:
    """The smallest box that holds some."""
    begin = (min(sides) for sides in zip(*(roi.offset for roi in rois), strict=True))
    return Roi.between(begin, (max(sides) for sides in zip(*(roi.end for roi in rois), strict=True)))


def _doubled(roi: Roi) -> Roi:
    return Roi.between((2 * o for o in roi.offset), (2 * e for e in roi.end))


def _halved(roi: Roi) -> Roi:
    return Roi.between((o // 2 for o in roi.offset), (-(-e // 2) for e in roi.end))


def _at_origin(roi: Roi, level: int) -> Roi:
    return Roi.between((o << level for o in roi.offset), (e << level for e in roi.end))
