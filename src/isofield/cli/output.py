"""`isofield render`, `isofield export` and `isofield check-readers`: what others do with a run's image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from isofield.cli.folders import finished_paths, require_one, units_in
from isofield.cli.options import EXIT_FAILED, add_json, add_machine, add_run, intervals
from isofield.errors import InputError
from isofield.geometry import exact_nm

if TYPE_CHECKING:
    from isofield.omezarr.store import Location


def add_output(commands: argparse._SubParsersAction) -> None:
    _add_render(commands)
    _add_export(commands)
    _add_check_readers(commands)


def _add_render(commands: argparse._SubParsersAction) -> None:
    render = commands.add_parser(
        "render",
        help="render a run's fields at another voxel size, without fitting again",
        description="Evaluate the fields of a run that kept them (run.keep_fields) at any voxel size and write an OME-Zarr. "
        "Finer than the run it interpolates as the fields do and adds no detail; coarser, a voxel is the mean over its extent.",
    )
    add_run(render)
    render.add_argument("--voxel-size-nm", required=True, metavar="Z,Y,X", help="voxel size in nm, one number or three")
    render.add_argument(
        "--out", required=True, metavar="PATH", help="image to write, such as run_5nm.ome.zarr; s3:// and gs:// too"
    )
    _add_regions(render, "voxels of the run's image")
    render.add_argument("--ome-zarr", choices=("0.4", "0.5"), help="version of OME-Zarr (default: the run's)")
    render.add_argument("--source", metavar="PATH", help="where the measured volume lies now, if it was moved")
    add_machine(render, "cpu", "cpu (default; the same to the last bit everywhere), cuda or auto")
    render.add_argument("--overwrite", action="store_true", help="replace another rendering at --out")
    add_json(render)
    render.set_defaults(run=_run_render)


def _add_export(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser(
        "export",
        help="write a region as TIFF or neuroglancer precomputed",
        description="Write a region of a run's image as one TIFF file, which ImageJ and Fiji open at the right scale, or as "
        "neuroglancer precomputed.",
    )
    export.add_argument("folder", metavar="RUN", help="results folder of a run, or an OME-Zarr that isofield wrote")
    export.add_argument("--to", required=True, metavar="PATH", help="file ending in .tif, or folder for precomputed")
    export.add_argument("--level", type=int, default=0, metavar="K", help="level of the pyramid (default 0, the finest)")
    _add_regions(export, "voxels of the level")
    export.add_argument("--channel", type=int, metavar="N", help="of an image of several channels, which one, counted from 0")
    export.add_argument("--format", choices=("tiff", "ome-tiff", "precomputed"), help="default: by the ending of --to")
    export.add_argument("--sharded", action="store_true", help="precomputed: many chunks per file, for volumes of any size")
    export.add_argument("--overwrite", action="store_true", help="replace what is at --to")
    add_json(export)
    export.set_defaults(run=_run_export)


def _add_check_readers(commands: argparse._SubParsersAction) -> None:
    check = commands.add_parser(
        "check-readers",
        help="open an image with every reader and validator of OME-Zarr that is installed",
        description="Open a run's image with other people's readers, compare voxels, voxel size and position with what was "
        "written, and run the validators. Exit status 1 if one of them disagrees.",
    )
    check.add_argument("folder", metavar="RUN", help="results folder of a run, or an OME-Zarr that isofield wrote")
    add_json(check)
    check.set_defaults(run=_run_check_readers)


def _add_regions(command: argparse.ArgumentParser, unit: str) -> None:
    region = command.add_mutually_exclusive_group()
    region.add_argument("--roi", metavar="Z0:Z1,Y0:Y1,X0:X1", help=f"region in {unit} (default: all)")
    region.add_argument("--roi-nm", metavar="Z0:Z1,Y0:Y1,X0:X1", help="region in nm of the world, as viewers show them")


def _run_render(args: argparse.Namespace) -> None:
    from isofield.plan import Plan
    from isofield.stages.render_image import RenderRequest, render_run
    from isofield.stages.rendering import size_nm

    require_one(args.folder, "render")
    paths = finished_paths(args.folder)
    plan = Plan.load(paths.plan)
    region = None
    if args.roi:
        voxel = exact_nm(plan.voxel_size_nm)
        region = tuple((begin * voxel, end * voxel) for begin, end in intervals("--roi", args.roi))
    elif args.roi_nm:
        given = zip(intervals("--roi-nm", args.roi_nm), map(exact_nm, plan.origin_nm), strict=True)
        region = tuple((begin - origin, end - origin) for (begin, end), origin in given)
    made = render_run(
        paths,
        RenderRequest(
            size_nm=size_nm(args.voxel_size_nm.split(",")),
            out=args.out,
            region=region,
            ome_zarr=args.ome_zarr,
            source=args.source,
            device=args.device,
            threads=args.threads,
            overwrite=args.overwrite,
        ),
    )
    sides = " x ".join(f"{size:g}" for size in made["voxel_size_nm"])
    print(
        json.dumps(made) if args.json else f"{made['image']}: {made['shape']} voxels of {sides} nm, OME-Zarr {made['ome_zarr']}"
    )


def _run_export(args: argparse.Namespace) -> None:
    from isofield.stages.exporting import ExportRequest, export_image

    made = export_image(
        image_of(args.folder, args.channel),
        ExportRequest(
            to=args.to,
            level=args.level,
            roi=intervals("--roi", args.roi) if args.roi else None,
            roi_nm=intervals("--roi-nm", args.roi_nm) if args.roi_nm else None,
            format=args.format,
            sharded=args.sharded,
            overwrite=args.overwrite,
        ),
    )
    sides = " x ".join(f"{size:g}" for size in made["voxel_size_nm"])
    print(json.dumps(made) if args.json else f"{made['file']}: {made['format']}, {made['shape']} voxels of {sides} nm")
    for note in made["notes"] if not args.json else ():
        print(note)


def _run_check_readers(args: argparse.Namespace) -> int:
    from isofield.benchmark.readers import check_readers, table

    found = check_readers(store_of(args.folder))
    print(json.dumps([one.to_dict() for one in found], indent=2) if args.json else table(found))
    return EXIT_FAILED if any(one.agrees is False for one in found) else 0


def store_of(folder: str) -> str | Path:
    """Where the files of a run's image lie, or `folder` itself where it is an OME-Zarr."""
    return folder if _is_image(folder) else finished_paths(str(units_in(folder)[0])).store


def _is_image(folder: str) -> bool:
    return "://" in folder or any((Path(folder) / name).exists() for name in ("zarr.json", ".zattrs"))


def image_of(folder: str, channel: int | None = None) -> Location:
    """The image of a run, or `folder` itself where it is an OME-Zarr; of one of several channels that one, by its place in it.

    Raises InputError where there are several and none is named.
    """
    from isofield.paths import ChannelOf

    if _is_image(folder):
        return folder if channel is None else ChannelOf(folder, channel)
    units = units_in(folder)
    if units == [Path(folder)]:
        image = finished_paths(folder).isotropic
        if channel is not None and not (isinstance(image, ChannelOf) and image.index == channel):
            raise InputError("--channel", channel, f"is not that of {folder}", "Leave it out: it has one channel")
        return image
    image = ChannelOf(finished_paths(str(units[0])).store, -1 if channel is None else channel)
    if channel is None:
        named = ", ".join(f"{index} {unit.name}" for index, unit in enumerate(units))
        raise InputError("run", folder, f"has an image of several channels ({named})", "Choose one with --channel")
    return image
