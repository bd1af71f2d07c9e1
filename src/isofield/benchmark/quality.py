"""`isofield benchmark quality`: all methods on one degraded volume per factor, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from isofield.benchmark.methods import METHODS, train_shared
from isofield.benchmark.pictures import method_montage
from isofield.benchmark.score import score
from isofield.benchmark.setting import Measured, Setting
from isofield.intensity import to_dtype
from isofield.progress import say
from isofield.records import fingerprint, read_json, write_bytes_atomic, write_json
from isofield.stages.fitting import FIT_CODE

RESULT_CODE = 4
"""Raised whenever a change makes results that are kept in a benchmark's folder out of date."""


def benchmark_quality(setting: Setting, factors: list[float], methods: list[str]) -> pd.DataFrame:
    """Rows of all methods at all factors, written to table.csv and table.md with pictures; what is there already is kept.

    A method that fails is left out, said so, and tried again next time.
    """
    rows, failed = [], []
    for factor in factors:
        own = replace(setting, factor=factor)
        for name in [n for n in METHODS if n in methods]:
            row = _row(own, name)
            if row is None:
                failed.append(f"x{factor:g} {name}")
                continue
            rows.append(row)
            table = pd.DataFrame(rows)
            write_tables(table, Path(setting.out))
        made = [row["method"] for row in rows if row["factor"] == factor]
        if made:
            _pictures(own, made)
    if failed:
        say(f"benchmark: failed and left out: {', '.join(failed)}")
    return pd.DataFrame(rows)


def _row(setting: Setting, name: str) -> dict[str, object] | None:
    """The row of one method, from its folder when it was made with the same setting."""
    prior = METHODS[name].prior
    mark = fingerprint(setting.same_for(name), RESULT_CODE, *([FIT_CODE] if prior else []))
    kept = setting.folder / "results" / f"{name}.json"
    if kept.exists() and read_json(kept)["mark"] == mark:
        return read_json(kept)["row"]
    try:
        if prior and not _prior_is_there(setting, prior):
            say(f"benchmark: x{setting.factor:g}, training {prior}")
            _in_own_process(_train, setting, prior)
        say(f"benchmark: x{setting.factor:g}, {name}")
        row = _in_own_process(_reconstruct, setting, name)
    except (BrokenProcessPool, FloatingPointError, ValueError, RuntimeError) as error:
        say(f"benchmark: {name} failed: {error}")
        return None
    write_json(kept, {"mark": mark, "row": row})
    return row


def _prior_is_there(setting: Setting, prior: str) -> bool:
    cost = setting.folder / prior / "cost.json"
    return cost.exists() and read_json(cost).get("mark") == fingerprint(setting.same_for(prior), RESULT_CODE)


def _in_own_process(work, *arguments):
    """Result of work(*arguments), computed where its peak of memory is its own."""
    # Forked from a process that has imported this module and done nothing else: importing torch takes longer than many a method.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as pool:
        return pool.submit(work, *arguments).result()


def _end_with_parent() -> None:
    """Let this process end as soon as the one that asked for it does, which is not its parent: it would compute on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _train(setting: Setting, prior: str) -> None:
    train_shared(setting, prior)
    cost = setting.folder / prior / "cost.json"
    write_json(cost, {**read_json(cost), "mark": fingerprint(setting.same_for(prior), RESULT_CODE)})


def _reconstruct(setting: Setting, name: str) -> dict[str, object]:
    outcome = METHODS[name].make(setting)
    # Kibibytes on Linux, and all that this process and no other method has ever held.
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    measured = Measured(setting)
    plan, truth = measured.plan, measured.truth()
    values = to_dtype(outcome.values[: len(truth)], plan.dtype)
    sections = measured.contrast.restore(measured.sections)
    row = {
        "volume": Path(os.path.expandvars(setting.volume)).name,
        "factor": setting.factor,
        "operator": setting.operator,
        "method": name,
        **score(values, truth[: len(values)], sections, plan),
        "train_s": outcome.train_s,
        "reconstruct_s": outcome.reconstruct_s,
        "mvoxel_per_s": values.size / 1e6 / outcome.reconstruct_s,
        "peak_memory_gb": peak_gb,
    }
    folder = setting.folder / "results"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", values)
    return row


def _pictures(setting: Setting, methods: list[str]) -> None:
    measured = Measured(setting)
    volumes = {name: np.load(setting.folder / "results" / f"{name}.npy", mmap_mode="r") for name in methods}
    volumes["truth"] = measured.truth()
    for axis, label in ((1, "zx"), (2, "zy")):
        picture = method_montage(volumes, axis, measured.plan.voxel_size_nm)
        write_bytes_atomic(Path(setting.out) / f"x{setting.factor:g}_{label}.png", picture)


SHOWN = {
    "factor": "{:g}",
    "method": "{}",
    "psnr_db": "{:.2f}",
    "ssim": "{:.3f}",
    "ssim_axial": "{:.3f}",
    "fsc_axial_0.143_nm": "{:.0f}",
    "fsc_axial_0.5_nm": "{:.0f}",
    "power_ratio_2": "{:.2f}",
    "power_ratio_3": "{:.2f}",
    "wobble_zx_nm": "{:.2f}",
    "residual_rms": "{:.4f}",
    "train_s": "{:.0f}",
    "reconstruct_s": "{:.1f}",
    "mvoxel_per_s": "{:.3f}",
    "peak_memory_gb": "{:.1f}",
}
"""Columns that a person is shown, and how; table.csv has all of them in full."""


def write_tables(table: pd.DataFrame, folder: Path) -> None:
    write_bytes_atomic(folder / "table.csv", table.to_csv(index=False).encode())
    write_bytes_atomic(folder / "table.md", markdown(table).encode())


def markdown(table: pd.DataFrame) -> str:
    """The shown columns as a Markdown table, aligned so that it reads well as plain text too."""
    cells = [list(SHOWN), *([form.format(row[name]) for name, form in SHOWN.items()] for _, row in table.iterrows())]
    widths = [max(len(line[i]) for line in cells) for i in range(len(SHOWN))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"
