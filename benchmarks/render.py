"""One ZX slice of a run at several voxel sizes, each drawn with its own voxels: python benchmarks/render.py RUN OUT.png

RUN must have kept its fields (run.keep_fields). Drawn from left to right: the measured sections, the run's own voxels, voxels of
half the side, voxels twice as wide along z and half as wide along x, and voxels three times as wide.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from isofield.cli.output import run_paths
from isofield.geometry import Roi, exact_nm
from isofield.plan import Plan
from isofield.source import open_source
from isofield.source.spec import SourceSpec
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.rendering import Lattice, PointRenderer, render_part
from isofield.status import fitted_store

HALF, TWO, THREE = Fraction(1, 2), Fraction(2), Fraction(3)
SIZES = [(Fraction(1),) * 3, (HALF,) * 3, (TWO, Fraction(1), HALF), (THREE,) * 3]
GAP, HEAD = 12, 18


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", metavar="RUN")
    options.add_argument("out", metavar="OUT", type=Path)
    options.add_argument("--side", type=int, default=40, help="voxels of the run along z and x (default 40, around the middle)")
    options.add_argument("--zoom", type=int, default=6, help="pixels per voxel of the run (default 6)")
    args = options.parse_args()
    torch.set_num_threads(2)
    paths = run_paths(args.run)
    plan = Plan.load(paths.plan)
    measured = MeasuredBlocks(open_source(SourceSpec.model_validate(plan.source_spec)), plan)
    renderer = PointRenderer(fitted_store(paths), measured, torch.device("cpu"))
    voxel = exact_nm(plan.voxel_size_nm)
    begin = [(n - args.side) // 2 for n in plan.shape]
    pictures = [(f"{float(voxel * plan.axial.ratio):g} x {float(voxel):g} nm, measured", sections(measured, begin, args.side))]
    for step in SIZES:
        size = [voxel * s for s in step]
        region = [(b * voxel, (b + args.side) * voxel) for b in begin]
        # One slice: the voxels at the middle along y.
        region[1] = (plan.shape[1] // 2 * voxel, plan.shape[1] // 2 * voxel + 1)
        lattice = Lattice.over(plan.shape, voxel, size, region)
        part = Roi((0, 0, 0), (lattice.roi.shape.z, 1, lattice.roi.shape.x))
        pictures.append((f"{float(size[0]):g} x {float(size[2]):g} nm", render_part(renderer, lattice, plan, part)[:, 0]))
    compose(pictures, args.side * args.zoom, (plan.intensity["low"], plan.intensity["high"])).save(args.out, optimize=True)
    print(f"{args.out}: ZX at {begin[0] * float(voxel):g} nm, voxels {', '.join(name for name, _ in pictures)} (z x x)")


def sections(measured: MeasuredBlocks, begin: list[int], side: int) -> np.ndarray:
    """The measured sections over the slice, as they were: (sections, X)."""
    plan = measured.plan
    touched = measured.axial.sections_touching(begin[0], begin[0] + side)
    return measured.grey(touched, Roi((0, plan.shape[1] // 2, begin[2]), (1, 1, side)))[:, 0]


def compose(pictures: list[tuple[str, np.ndarray]], side: int, window: tuple[float, float]) -> Image.Image:
    """Slices beside each other, stretched to one size without smoothing, named above."""
    sheet = Image.new("L", (len(pictures) * (side + GAP) - GAP, side + HEAD), 255)
    draw = ImageDraw.Draw(sheet)
    for k, (name, values) in enumerate(pictures):
        grey = np.clip((values.astype(float) - window[0]) / (window[1] - window[0]), 0, 1) * 255
        tile = Image.fromarray(grey.round().astype("uint8")).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (k * (side + GAP), HEAD))
        draw.text((k * (side + GAP), 3), name, fill=0)
    return sheet


if __name__ == "__main__":
    main()
