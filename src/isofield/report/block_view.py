"""The blocks' table as the page shows it: worst first, plain values, what the map needs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from isofield.report import glossary
from isofield.report.content import BLOCK_COLUMNS, BLOCK_METRICS

BAD_FIRST = {"failed": 0, "fallback": 1, "missing": 2, "done": 3, "skipped": 4}
MAX_EMBEDDED = 20_000
"""Blocks written into the page; the worst of them, where there are more."""


def block_view(blocks: pd.DataFrame, n_worst: int) -> dict[str, Any] | None:
    """What the template needs of a table with BLOCK_COLUMNS (`data`: what the script reads); None if empty."""
    if blocks.empty:
        return None
    table, metrics = _complete(blocks)
    default = metrics[0] if metrics else None
    order = _worst_first(table, default)[:MAX_EMBEDDED]
    columns = [[_plain(name, value) for value in table[name].loc[order]] for name in BLOCK_COLUMNS]
    rows = list(map(list, zip(*columns, strict=True)))
    has_messages = any(columns[BLOCK_COLUMNS.index("message")])
    counts = table["state"].astype(str).value_counts()
    return {
        "n": len(table),
        "n_left_out": len(table) - len(rows),
        "counts": ", ".join(f"{n} {state}" for state, n in counts.items()),
        "metrics": metrics,
        "default": default,
        "has_messages": has_messages,
        "worst": [dict(zip(BLOCK_COLUMNS, row, strict=True)) for row in rows[:n_worst]],
        "data": {
            "columns": list(BLOCK_COLUMNS),
            "rows": rows,
            "metrics": {name: _metric(name) for name in metrics},
            "default": default,
            "has_messages": has_messages,
            "n_worst": n_worst,
            "bad_first": BAD_FIRST,
        },
    }


def worst_blocks(blocks: pd.DataFrame) -> pd.DataFrame:
    """The same rows, the worst block first: those that are not done, then by the first metric that is known."""
    table, metrics = _complete(blocks)
    return blocks.reset_index(drop=True).loc[_worst_first(table, metrics[0] if metrics else None)]


def _complete(blocks: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with all BLOCK_COLUMNS, and the metrics that are known of any block."""
    table = blocks
    if {"psnr_db", "cubic_psnr_db"} <= set(table.columns) and "gain_db" not in table.columns:
        table = table.assign(gain_db=table["psnr_db"] - table["cubic_psnr_db"])
    table = table.reindex(columns=list(BLOCK_COLUMNS)).reset_index(drop=True)
    return table, [name for name in BLOCK_METRICS if pd.to_numeric(table[name], errors="coerce").notna().any()]


def _worst_first(table: pd.DataFrame, by: str | None) -> list[int]:
    value = pd.to_numeric(table[by], errors="coerce") if by else pd.Series(0.0, index=table.index)
    if by and glossary.metric(by).better != "higher":
        value = -value
    keys = [table["state"].map(BAD_FIRST).fillna(0), value.fillna(math.inf)]
    keys += [table[f"offset_{axis}"] for axis in "zyx"]
    frame = pd.DataFrame(dict(enumerate(keys)))
    return list(frame.sort_values(list(frame.columns)).index)


def _plain(name: str, value: object) -> str | int | float | None:
    """Text, whole numbers, floats of 5 digits; None where unknown or not finite."""
    if pd.isna(value):
        return None
    if name in ("block_id", "state", "message"):
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else float(f"{number:.5g}")


def _metric(name: str) -> dict[str, object]:
    entry = glossary.metric(name)
    return {
        "label": entry.label,
        "unit": entry.shown_unit,
        "digits": entry.digits,
        "better": entry.better,
        "factor": 100 if entry.percent else 1,
    }
