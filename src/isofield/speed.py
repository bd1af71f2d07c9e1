"""How fast jobs are: rates in output voxels per second, each with the word of where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

REFERENCE_BLOCK_VOX, REFERENCE_CONTEXT_VOX, REFERENCE_OVERLAP_VOX, REFERENCE_SHARD_VOX = 128, 16, 8, 256
REFERENCE_RATIO = Fraction(8)
"""What the rates below were measured with, besides default settings of prior, field and fit."""


@dataclass(frozen=True)
class Speed:
    """What one job gets done: output voxels per second fitted and blended, seconds per training step.

    `fit_vox_per_s` and `training_step_s` are those of `device`; blending is done by processors whatever the device.
    `basis` says where the numbers come from, to be printed wherever they are used.
    """

    fit_vox_per_s: float
    blend_vox_per_s: float
    training_step_s: float
    device: str
    basis: str


CPU_SPEED = Speed(
    fit_vox_per_s=0.44e6,
    blend_vox_per_s=1.0e6,
    training_step_s=0.045,
    device="cpu",
    basis="measured on 2 cores of a server with native bfloat16",
)
GPU_SPEED = Speed(
    fit_vox_per_s=5.5e6,
    blend_vox_per_s=CPU_SPEED.blend_vox_per_s,
    training_step_s=0.03,
    device="cuda",
    basis="half the rate of fitting that was measured on one NVIDIA H200",
)
"""Half, for GPUs that are not the fastest. There a whole fit job, reading and publishing included, did 11 Mvoxel/s and a training
step took 0.025 to 0.031 s, which is the time of the processor that gives the orders (docs/scaling.md)."""
