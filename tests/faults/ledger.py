"""What was tried and what came of it: the table of docs/reliability.md."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

SAME, CLEAR = "same bytes", "clear message, then same bytes"
BEGIN, END = "<!-- fault matrix: written by make test-faults -->", "<!-- end of the fault matrix -->"


@dataclass
class Tally:
    tried: int = 0
    changed: int = 0
    outcomes: set[str] = field(default_factory=set)


@dataclass
class Ledger:
    """Faults by stage. A kill is a process that was sent a signal and ended because of it."""

    rows: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    n_kills: int = 0

    def note(self, fault: str, stage: str, outcome: str, tried: int = 1, changed: int = 0, kills: int = 0) -> None:
        """`changed`: of `tried`, how many left the finished run with other bytes than an undisturbed one."""
        tally = self.rows[fault, stage]
        tally.tried += tried
        tally.changed += changed
        tally.outcomes.add(outcome)
        self.n_kills += kills

    def lines(self) -> list[str]:
        table = ["| fault | stage | tried | changed the result | outcome |", "|---|---|---|---|---|"]
        for (fault, stage), tally in sorted(self.rows.items()):
            outcomes = "; ".join(sorted(tally.outcomes))
            table.append(f"| {fault} | {stage} | {tally.tried} | {tally.changed} | {outcomes} |")
        tried, changed = (sum(getattr(t, name) for t in self.rows.values()) for name in ("tried", "changed"))
        return [*table, "", f"{tried} faults, {changed} changed the result. Processes killed by a signal: {self.n_kills}."]

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
