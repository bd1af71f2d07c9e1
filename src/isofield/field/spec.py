"""What a field is and how it is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from isofield.spec import Spec

SLICES_PER_CALL = 32
"""Slices per call of the denoiser on a CPU: one number for all batches, so that it cannot change a result."""
CUDA_VOX_PER_CALL = 6 * 2**20
"""Voxels per call on CUDA, where calls of few slices cost more than what they compute; at 256 bytes each, 1.6 GB."""
N_DRAW_SIGMAS = 8
"""Noise levels that a draw from the posterior passes through."""

THICK = 8
"""Voxels along z of a section between which a posterior mean is so smooth that every other one has a node of the finest grid."""
LITTLE_NOISE = 0.05
"""Standard deviation, in working units, of noise of the sections of which a field reproduces half (docs/method.md)."""
MAX_DATA_WEIGHT = 25.0

Stride = PositiveInt | tuple[PositiveInt, PositiveInt, PositiveInt]


def along_axes(stride: int | tuple[int, int, int]) -> tuple[int, int, int]:
    """Spacing of nodes along z, y and x."""
    return (stride,) * 3 if isinstance(stride, int) else stride


def n_nodes(side: int, stride: int) -> int:
    """Nodes of a grid along a side of so many voxels: voxel centres at stride 1, else edges, the last at or beyond the end."""
    return side if stride == 1 else -(-side // stride) + 1


def slices_per_call(on_cuda: bool, n_vox: int) -> int:
    """Slices of n_vox voxels that the denoiser is given at once: it depends on the device and the shape alone."""
    return max(SLICES_PER_CALL, CUDA_VOX_PER_CALL // n_vox) if on_cuda else SLICES_PER_CALL


class FieldSpec(Spec):
    """The implicit neural representation of one block."""

    kind: Literal["grid", "siren", "fourier"] = Field(
        "grid",
        description="grid: multi-resolution feature grid and small MLP over the interpolated measurement; "
        "siren: sine-activated coordinate MLP; fourier: coordinate MLP on random Fourier features",
    )
    strides_vox: tuple[Stride, ...] | None = Field(
        None,
        min_length=1,
        description="grid: spacing of the feature grids in output voxels, finest first, z, y, x or one number for all, each 1 or "
        "even; null: [2, 1, 1] and 4, or 1 and 4 where sections are thinner than 8 voxels or fit.detail asks for texture along z",
    )
    features: tuple[PositiveInt, ...] | None = Field(
        None, min_length=1, description="grid: features per grid node, per level; null: 1 for the first level, 4 for the others"
    )
    hidden: PositiveInt = Field(16, description="width of the MLP: 16 suits grid, 128 or more suits siren and fourier")
    n_hidden_layers: PositiveInt = Field(1, description="hidden layers of the MLP: 1 suits grid, 3 or more the others")
    frequency: PositiveFloat = Field(
        30.0,
        description="siren: omega_0 (Sitzmann et al. 2020); fourier: standard deviation of the frequencies in cycles per block",
    )
    n_frequencies: PositiveInt = Field(128, description="fourier: number of random frequencies (Tancik et al. 2020)")

    @field_validator("strides_vox")
    @classmethod
    def _even(cls, value: tuple[Stride, ...] | None) -> tuple[Stride, ...] | None:
        odd = [level for level in value or () if any(side % 2 and side > 1 for side in along_axes(level))]
        if odd:
            raise ValueError(f"strides {odd} are odd; nodes lie on voxel edges, so give 1 or even numbers")
        return value

    @model_validator(mode="after")
    def _levels(self) -> FieldSpec:
        given = self.strides_vox, self.features
        if self.features and not self.strides_vox:
            raise ValueError("features are given without strides_vox; give both, one number per level each")
        if all(given) and len(self.strides_vox) != len(self.features):  # type: ignore[arg-type]
            raise ValueError(
                f"strides_vox has {len(self.strides_vox)} levels, features has {len(self.features)}; give one number each"  # type: ignore[arg-type]
            )
        return self

    def decided(self, detail: float = 0.0, ratio: Fraction | float = THICK) -> FieldSpec:
        """This spec with everything that is left open decided for `fit.detail` and sections `ratio` voxels thick."""
        strides = self.strides_vox or ((1, 4) if detail or ratio < THICK else ((2, 1, 1), 4))
        features = self.features or (1, *(4,) * (len(strides) - 1))
        return self.model_copy(update={"strides_vox": strides, "features": features})

    def n_numbers(self, shape: Sequence[int]) -> tuple[int, int]:
        """Numbers per field of a block of this shape (z, y, x): on the nodes of its grids, and all others."""
        spec = self.decided()
        widths = [spec.hidden] * spec.n_hidden_layers + [1]
        nodes = others = 0
        if spec.kind == "grid":
            levels = zip(spec.features, spec.strides_vox, strict=True)  # type: ignore[arg-type]
            nodes = sum(c * prod(map(n_nodes, shape, along_axes(stride))) for c, stride in levels)
            widths.insert(0, sum(spec.features) - 1)  # type: ignore[arg-type]
        elif spec.kind == "fourier":
            others = 3 * spec.n_frequencies
            widths.insert(0, 2 * spec.n_frequencies)
        else:
            widths.insert(0, 3)
        return nodes, others + sum(a * b + b for a, b in pairwise(widths))


class FitSpec(Spec):
    """How fields are fitted to the sections and to the prior."""

    mode: Literal["distill", "sds"] = Field(
        "distill",
        description="distill: targets from the measurement-conditioned denoiser; "
        "sds: score distillation from the unconditional prior with fresh noise every step (the paper's way)",
    )
    detail: float = Field(
        0.0,
        ge=0,
        le=1,
        description="distill: 0 is the most faithful answer (posterior mean: smooth where the sections do not say), "
        "1 a likely one with texture (a draw from the posterior): sharper, less exact, several times as long in the making; "
        "between them a mixture of both",
    )
    mirrored: bool = Field(
        True,
        description="distill: every slice is denoised as it is and mirrored, and the two posterior means are averaged: "
        "a little more exact for up to 1.6 times the time of the fit",
    )
    sds_sigma_range: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.05, 0.6), description="sds: noise levels are drawn log-uniformly from this range"
    )
    steps: PositiveInt | None = Field(
        None,
        description="optimisation steps, each of which renders a subset of slices; "
        "null: 12 in mode distill, 300 in mode sds or without prior",
    )
    stop_below: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="distill: a field is left as it is once its loss falls by less than this share in 8 steps, after 16",
    )
    slice_share: float = Field(0.125, gt=0, le=1, description="share of a block's ZX or ZY slices rendered per step")
    learning_rate: PositiveFloat | None = Field(
        None,
        description="peak step size (Adam), with cosine decay to a twentieth; "
        "null: 0.002 in mode distill, 0.01 in mode sds or without prior",
    )
    data_weight: NonNegativeFloat | None = Field(
        None,
        description="weight of the data term, relative to the prior term at prior_weight 1; null: the fourth power of (2.5 % of "
        "the contrast / noise of the sections), 25 at most, so that little noise is reproduced and strong noise is not; 4 in "
        "mode sds or without prior",
    )
    prior_weight: NonNegativeFloat = Field(1.0, description="weight of the prior term; 0 leaves the data term alone")
    batch_blocks: PositiveInt | None = Field(
        None, description="blocks fitted together in one tensor; null: 1 on CPU, as many as fit in memory on CUDA"
    )
    blocks_per_job: PositiveInt | None = Field(
        None,
        description="blocks per fit job; null: 64 to 4096, as many as a GPU is expected to fit in some 45 minutes, or more where "
        "there would be more than 1000 jobs",
    )
    max_attempts: PositiveInt = Field(2, description="attempts per block; each retry has a quarter of the step size")

    @property
    def has_targets(self) -> bool:
        """Whether there are targets to start at: then all that is left to do is little."""
        return self.mode == "distill" and self.prior_weight > 0

    @property
    def n_steps(self) -> int:
        return self.steps or (12 if self.has_targets else 300)

    def data_weight_at(self, noise: float) -> float:
        """Weight of the data term where sections have white noise of this standard deviation, in working units.

        By this weight to 1 a section is drawn between what is measured and what the prior makes of it.
        """
        if self.data_weight is not None:
            return self.data_weight
        if not self.has_targets:
            return 4.0
        return min(MAX_DATA_WEIGHT, (LITTLE_NOISE / noise) ** 4) if noise else MAX_DATA_WEIGHT

    @property
    def rate(self) -> float:
        """Peak step size."""
        return self.learning_rate or (0.002 if self.has_targets else 0.01)

    @field_validator("sds_sigma_range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"[{value[0]}, {value[1]}] is empty; the first must be below the second")
        return value
