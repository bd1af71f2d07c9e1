"""What is wrong, in words and as data, and what has to go so that the workflow makes it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from isofield.geometry import Roi

Check = Literal[
    "plan", "prior", "record", "fit", "field", "coverage", "metadata", "shard", "pyramid", "stray", "recompute", "file"
]


class Repair(NamedTuple):
    """One thing that goes.

    kind "record": a record of the workflow, by path; "file": any other file of the run, by path; "image": a file of the image, by
    key; "metadata": the same, which is written anew; "block": a block's field and record, by number.
    """

    kind: Literal["record", "file", "image", "metadata", "block"]
    target: str

    @property
    def block(self) -> int:
        return int(self.target)


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    `roi`: where, in voxels of `level`; `blocks`: those that lie there, or that it is about; `file`: path or URI; `repairs`: what
    has to go, empty where nothing that goes would help.
    """

    check: Check
    what: str
    file: str | None = None
    level: int | None = None
    roi: Roi | None = None
    blocks: tuple[int, ...] = ()
    repairs: tuple[Repair, ...] = ()

    def to_dict(self) -> dict[str, object]:
        where = {"offset": list(self.roi.offset), "shape": list(self.roi.shape)} if self.roi else {}
        place = {"file": self.file, "level": self.level, **where, "blocks": list(self.blocks)}
        return {"check": self.check, "what": self.what, **place, "repairable": bool(self.repairs)}

    def line(self) -> str:
        """For a person."""
        parts = [f"{self.check}:"]
        if self.level is not None:
            parts.append(f"level {self.level}")
        if self.roi is not None:
            sides = zip("zyx", self.roi.offset, self.roi.end, strict=True)
            parts.append(" ".join(f"{axis} {begin}:{end}" for axis, begin, end in sides))
        if self.file:
            parts.append(f"({self.file})")
        if self.blocks:
            shown = ", ".join(map(str, self.blocks[:8])) + (" ..." if len(self.blocks) > 8 else "")
            parts.append(f"block{'s' * (len(self.blocks) > 1)} {shown}")
        return f"{' '.join(parts)} {self.what}"


def record_of(path: Path) -> Repair:
    return Repair("record", str(path))


def files_of(*paths: Path) -> tuple[Repair, ...]:
    return tuple(Repair("file", str(path)) for path in paths)


def all_repairs(findings: Iterable[Finding]) -> list[Repair]:
    """Each once: the workflow's records first, so that a repair that is interrupted leaves a run that is made again."""
    order = {"record": 0, "file": 1, "metadata": 2, "image": 3, "block": 4}
    return sorted({one for finding in findings for one in finding.repairs}, key=lambda one: (order[one.kind], one.target))


def in_words(values: Sequence[object], most: int = 8) -> str:
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")
