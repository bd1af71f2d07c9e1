"""What was tried and what came of it: the table of docs/reliability.md."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAME, CLEAR = "same bytes", "clear message, then same bytes"
OTHER = "other bytes"
BEGIN, END = "<!-- fault matrix: written by make test-faults -->", "<!-- end of the fault matrix -->"


@dataclass
class Tally:
    """One kind of fault: how often it was tried on each stage, how often it changed the result, and what came of it."""

    stages: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    kills: int = 0
    outcomes: set[str] = field(default_factory=set)

    @property
    def tried(self) -> int:
        return self.stages.total()


@dataclass
class Ledger:
    """Faults by kind. A kill is a process that was sent a signal and ended because of it."""

    rows: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def note(self, fault: str, stage: str, outcome: str, tried: int = 1, changed: int = 0, kills: int = 0) -> None:
        """`changed`: of `tried`, how many left the finished run with other bytes than an undisturbed one."""
        tally = self.rows[fault]
        tally.stages[stage] += tried
        tally.changed += changed
        tally.kills += kills
        tally.outcomes.add(outcome)

    def lines(self) -> list[str]:
        """The table, and the sums of it."""
        table = ["| fault | on which stage, how often | tried | changed the result | outcome |", "|---|---|---|---|---|"]
        for fault, tally in sorted(self.rows.items()):
            where = ", ".join(f"{stage} {n}" for stage, n in tally.stages.items())
            table.append(f"| {fault} | {where} | {tally.tried} | {tally.changed} | {'; '.join(sorted(tally.outcomes))} |")
        killing = [tally for tally in self.rows.values() if tally.kills]
        tried, changed = (sum(getattr(t, name) for t in self.rows.values()) for name in ("tried", "changed"))
        kills, changed_by_kills = (sum(getattr(t, name) for t in killing) for name in ("kills", "changed"))
        return [
            *table,
            "",
            f"{tried} faults, of which {changed} changed the result; among them {kills} processes killed or ended by a signal, "
            f"of which {changed_by_kills} changed it.",
        ]

    def write(self, document: Path) -> None:
        """Put the table between its two marks in a document."""
        text = document.read_text(encoding="utf-8")
        new, n = re.subn(
            f"{re.escape(BEGIN)}.*?{re.escape(END)}",
            lambda _: "\n".join([BEGIN, "", *self.lines(), "", END]),
            text,
            flags=re.DOTALL,
        )
        if n != 1:
            raise ValueError(f"{document} has {n} places for the fault matrix")
        document.write_text(new, encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """All rows as plain numbers and words, for `add_json`."""
        return {
            fault: {"stages": dict(t.stages), "changed": t.changed, "kills": t.kills, "outcomes": sorted(t.outcomes)}
            for fault, t in self.rows.items()
        }

    def add_json(self, rows: dict[str, Any]) -> None:
        for fault, row in rows.items():
            tally = self.rows[fault]
            tally.stages.update(row["stages"])
            tally.changed += row["changed"]
            tally.kills += row["kills"]
            tally.outcomes |= set(row["outcomes"])
