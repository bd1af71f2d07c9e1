"""What a second round of training learns from: parts of the measured volume as the network of the first round restores them."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from isofield.field.batch import BlockBatch
from isofield.field.inputs import block_data
from isofield.field.representation import X, Y
from isofield.field.targets import distillation_targets
from isofield.geometry import AxialMap, Roi
from isofield.measurement import MeasurementModel
from isofield.prior.denoiser import Denoiser
from isofield.prior.spec import PART_SECTIONS, PART_VOX, RESTORED_VOX, PriorSpec
from isofield.progress import Progress
from isofield.stages.sampling import spread


def restored_stacks(
    pool: list[np.ndarray], denoiser: Denoiser, sees: PriorSpec, model: MeasurementModel, device: torch.device, least: int = 0
) -> list[np.ndarray]:
    """Parts of stacks (sections, Y, X) in working units, restored: float32 (Z, Y, X), the mean of their ZX and ZY slices.

    sees: what the denoiser was trained by. least: voxels along y and x that a part keeps where its stack has them.
    """
    parts = _parts(pool, float(model.ratio), least)
    progress, restored = Progress("train", len(parts), "parts restored"), []
    for part in parts:
        axial = AxialMap(model.ratio, len(part))
        whole = Roi((0, 0, 0), (axial.n_planes, *part.shape[1:]))
        data = block_data(axial, model, whole, whole, range(len(part)), part, 0, **sees.beside)
        targets = distillation_targets(BlockBatch.stack([data], device), denoiser, mirrored=True)
        restored.append(((targets[Y][0] + targets[X][0]) / 2).cpu().numpy())
        progress.update(len(restored))
    return restored


def _parts(pool: list[np.ndarray], ratio: float, least: int = 0) -> list[np.ndarray]:
    """Parts spread evenly over the pool, RESTORED_VOX in all or the whole pool."""
    found = []
    lateral = max(PART_VOX, 2 * least)
    for stack in pool:
        starts = [_cuts(side, most) for side, most in zip(stack.shape, (PART_SECTIONS, lateral, lateral), strict=True)]
        found += [stack[z, y, x] for z, y, x in itertools.product(*starts)]
    order = sorted(range(len(found)), key=lambda k: spread(k))
    chosen, n_vox = [], 0.0
    for k in order:
        if chosen and n_vox + found[k].size * ratio > RESTORED_VOX:
            break
        chosen.append(k)
        n_vox += found[k].size * ratio
    return [found[k] for k in sorted(chosen)]


def _cuts(side: int, most: int) -> list[slice]:
    """Equal parts, edge to edge, of half of `most` to all of it; a smaller side is one part."""
    n = -(-side // most)
    return [slice(side * i // n, side * (i + 1) // n) for i in range(n)]
