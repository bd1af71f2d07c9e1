"""What a verification found, as data and in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from isofield import __version__
from isofield.verify.finding import Finding

MAX_LINES = 60
"""Findings that are printed; the file has all."""


@dataclass
class Verification:
    """What was found. `skipped`: what was not checked, and why; `repaired`: what was removed."""

    run: str
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    seconds: float = 0.0
    recorded: bool = True
    """Whether it could be written down that nothing is wrong, where something waits for that."""

    @property
    def ok(self) -> bool:
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("checked", "skipped", "notes", "repaired", "seconds")}
        return {"run": self.run, "ok": self.ok, "version": __version__, "findings": [f.to_dict() for f in self.findings], **plain}

    def lines(self) -> list[str]:
        """For a person."""
        found = self.checked
        counts = ", ".join(f"{n} {name}" for name, n in sorted(Counter(f.check for f in self.findings).items()))
        lines = [f"{self.run}: {'nothing is wrong' if self.ok else f'{len(self.findings)} things are wrong ({counts})'}"]
        if "n_shards" in found:
            lines.append(
                f"  image    {found['n_decoded']} of {found['n_shards']} shards decoded, {found['image_mb']:.1f} MB of voxels "
                f"({found['stored_mb']:.1f} MB stored) in {found['image_s']:.1f} s: {found['mb_per_s']:.0f} MB/s; "
                f"{found['n_compared_vox']} voxels of coarser levels are the mean of the finer one"
            )
        if "labels" in found:
            lines.append("  labels   {n_decoded} of {n_shards} shards decoded".format(**found["labels"]))
        if "blocks" in found:
            states = ", ".join(f"{n} {state}" for state, n in sorted(found["blocks"].items()))
            lines.append(f"  records  {states} blocks; {found['fields_mb']:.1f} MB of fields read")
        if found.get("recomputed"):
            lines.append(f"  fit      blocks {', '.join(map(str, found['recomputed']))} fitted once more")
        if found.get("validators"):
            lines.append(f"  metadata as planned, and valid to {', '.join(found['validators'])}")
        lines += [f"  not checked: {one}" for one in self.skipped] + [f"  note: {one}" for one in self.notes]
        lines += [f"  wrong  {one.line()}" for one in self.findings[:MAX_LINES]]
        if len(self.findings) > MAX_LINES:
            lines.append(f"  wrong  {len(self.findings) - MAX_LINES} more, see verify.json")
        lines += [f"  repair {one}" for one in self.repaired[:MAX_LINES]]
        if self.repaired:
            lines.append("  Run snakemake again: it makes what was removed, and that alone")
        elif any(one.repairs for one in self.findings):
            lines.append(f"  isofield verify {self.run} --repair removes what is wrong; snakemake then makes it again")
        return lines
