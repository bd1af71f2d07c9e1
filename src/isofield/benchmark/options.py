"""The options of the benchmarks, checked before anything is computed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from isofield.benchmark.methods import METHODS
from isofield.benchmark.setting import Setting
from isofield.config import load_config
from isofield.errors import InputError
from isofield.progress import say


def quality_setting(
    args: argparse.Namespace, roi_vox: tuple[tuple[int, int], ...] | None
) -> tuple[Setting, list[float], list[str]]:
    """Setting (its factor is the first), factors and methods. Raises InputError."""
    require_whole_images_here(args.overrides)
    factors = [_factor(text) for text in args.factors.split(",")]
    methods = args.methods.split(",") if args.methods else list(METHODS)
    for name in methods:
        if name not in METHODS:
            raise InputError("--methods", name, "is not a method", f"Choose from {', '.join(METHODS)}")
    if "supervised" in methods and not args.teacher:
        if args.methods:
            raise InputError("--teacher", None, "is needed by the method supervised", "Name another isotropic volume")
        say("benchmark: no --teacher, so the bound supervised is left out")
        methods = [name for name in methods if name != "supervised"]
    if not args.train_minutes > 0:
        raise InputError("--train-minutes", args.train_minutes, "is not above 0", "Give minutes, such as 10")
    setting = Setting(
        volume=args.volume,
        factor=factors[0],
        operator=args.operator,
        roi_vox=roi_vox,
        teacher=args.teacher,
        train_s=60 * args.train_minutes,
        out=args.out,
        overrides=tuple(args.overrides),
        seed=args.seed,
        threads=args.threads,
        device=args.device,
    )
    for factor in factors:
        _require_plannable(setting, factor)
    return setting, factors, methods


def require_whole_images_here(overrides: Sequence[str]) -> None:
    """Raises InputError for keys of the output that a benchmark does not follow: it keeps its images, whole, with its table."""
    output = load_config('{"run": {"name": "benchmark"}, "source": {"path": "none"}}', overrides).output
    for key in ("path", "region_vox"):
        if (value := getattr(output, key)) is not None:
            limit = "is not for a benchmark, which makes whole images and keeps what it makes in --out"
            raise InputError(f"output.{key}", value, limit, "Leave the key out")


def _require_plannable(setting: Setting, factor: float) -> None:
    """Whatever would stop the planning stops it here, for every factor, before the first training."""
    replace(setting, factor=factor).planned("measured")


def _factor(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError("--factors", text, "is not a number", "Give factors like 4,8,10") from None
