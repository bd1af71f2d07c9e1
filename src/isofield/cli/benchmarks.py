"""`isofield benchmark`: quality and speed beside other methods."""

from __future__ import annotations

import argparse
from pathlib import Path

from isofield.cli.options import EXIT_FAILED, add_json, add_machine, add_overrides, box_vox
from isofield.config import load_config


def add_benchmark(commands: argparse._SubParsersAction) -> None:
    benchmark = commands.add_parser("benchmark", help="measure quality or speed beside other methods")
    kinds = benchmark.add_subparsers(dest="kind", required=True, metavar="KIND")
    quality = kinds.add_parser(
        "quality",
        help="degrade an isotropic volume and compare all methods with the truth",
        description="Degrade a truly isotropic volume, reconstruct it by every method from the same sections and with the same "
        "time for training, and write table.csv, table.md and pictures. What is in --out already is kept.",
    )
    quality.add_argument("--volume", required=True, help="isotropic volume, any format that source.path takes")
    quality.add_argument("--factors", default="8", help="section thickness in planes, several separated by commas (default 8)")
    quality.add_argument("--operator", default="section", choices=("section", "skip", "gaussian"), help="default section")
    quality.add_argument("--roi", help="part to reconstruct in voxels, such as 40:200,45:205,45:205 (z, y, x; default: all)")
    quality.add_argument("--methods", help="rows of the table, separated by commas (default: all)")
    quality.add_argument("--teacher", help="another isotropic volume, for the bound supervised")
    quality.add_argument("--train-minutes", type=float, default=40, help="training time of each method that learns (default 40)")
    quality.add_argument("--out", required=True, help="folder for table, pictures and runs")
    add_machine(quality)
    quality.add_argument("--seed", type=int, default=0)
    add_overrides(quality, "change isofield's defaults")
    add_json(quality)
    quality.set_defaults(run=_run_benchmark_quality)
    _add_sections(kinds)
    speed = kinds.add_parser(
        "speed",
        help="time each part of the work on this device",
        description="Time each part of the work on this device, beside a feed-forward regressor and the floor that the device's "
        "measured rates set. Needs no data.",
    )
    speed.add_argument("--block-vox", type=int, default=128, help="side of the blocks in output voxels (default 128)")
    speed.add_argument("--ratio", type=int, default=8, help="section thickness in output voxels (default 8)")
    speed.add_argument("--batch", type=int, default=1, help="blocks fitted together (default 1)")
    speed.add_argument("--repeats", type=int, default=3, help="runs per part, of which the fastest counts (default 3)")
    speed.add_argument("--out", help="folder for speed.csv")
    add_machine(speed)
    add_overrides(speed, "change isofield's defaults")
    add_json(speed)
    speed.set_defaults(run=_run_benchmark_speed)


def _add_sections(kinds: argparse._SubParsersAction) -> None:
    sections = kinds.add_parser(
        "sections",
        help="spoil sections of a degraded volume and reconstruct it believing them and not",
        description="Degrade a truly isotropic volume, spoil some of its sections, and print the PSNR in their planes "
        "and elsewhere of interpolation and of isofield, with bad sections believed and with them detected.",
    )
    sections.add_argument("--volume", required=True, help="isotropic volume, any format that source.path takes")
    sections.add_argument("--factor", type=float, default=8, help="section thickness in planes (default 8)")
    sections.add_argument("--steps", type=int, default=1500, help="training steps of each prior (default 1500)")
    sections.add_argument("--roi", help="part of the volume in voxels, such as 0:248,45:205,45:205 (z, y, x; default: all)")
    sections.add_argument("--out", required=True, help="folder for the table and the runs")
    add_machine(sections)
    add_overrides(sections, "change isofield's defaults")
    sections.set_defaults(run=_run_benchmark_sections)


def _run_benchmark_sections(args: argparse.Namespace) -> None:
    from isofield.benchmark.gaps import Spoiling, benchmark_sections, markdown
    from isofield.benchmark.options import require_whole_images_here

    require_whole_images_here(args.overrides)
    roi = box_vox("--roi", args.roi)
    setting = Spoiling(args.volume, args.factor, args.steps, args.out, roi, tuple(args.overrides), args.threads, args.device)
    print(markdown(benchmark_sections(setting)))


def _run_benchmark_quality(args: argparse.Namespace) -> int:
    from isofield.benchmark.options import quality_setting
    from isofield.benchmark.quality import benchmark_quality, markdown

    setting, factors, methods = quality_setting(args, box_vox("--roi", args.roi))
    table = benchmark_quality(setting, factors, methods)
    if args.json:
        print(table.to_json(orient="records", indent=2))
    elif len(table):
        print(markdown(table), end="")
    return 0 if len(table) == len(factors) * len(methods) else EXIT_FAILED


def _run_benchmark_speed(args: argparse.Namespace) -> None:
    from isofield.benchmark.options import require_whole_images_here
    from isofield.benchmark.speed import SpeedBenchmark, SpeedSetting, lines
    from isofield.records import write_bytes_atomic
    from isofield.stages.device import choose_device

    require_whole_images_here(args.overrides)
    config = load_config('{"run": {"name": "speed"}, "source": {"path": "none"}}', args.overrides)
    setting = SpeedSetting(args.block_vox, args.ratio, args.batch, args.repeats)
    benchmark = SpeedBenchmark(setting, config, choose_device(args.device, args.threads))
    table = benchmark.run()
    if args.out:
        write_bytes_atomic(Path(args.out) / "speed.csv", table.to_csv(index=False).encode())
    print(table.to_json(orient="records", indent=2) if args.json else "\n".join(lines(table, benchmark)))
