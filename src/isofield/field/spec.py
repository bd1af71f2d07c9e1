"""What a field is and how it is fitted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from isofield.spec import Spec


class FieldSpec(Spec):
    """The implicit neural representation of one block."""

    kind: Literal["grid", "siren", "fourier"] = Field(
        "grid",
        description="grid: multi-resolution feature grid and small MLP over the interpolated measurement; "
        "siren: sine-activated coordinate MLP; fourier: coordinate MLP on random Fourier features",
    )
    strides_vox: tuple[PositiveInt, ...] = Field(
        (2, 4, 8), min_length=1, description="grid: spacing of the feature grids in output voxels, finest first"
    )
    features: tuple[PositiveInt, ...] = Field((4, 8, 8), min_length=1, description="grid: features per grid node, per level")
    hidden: PositiveInt = Field(16, description="width of the MLP: 16 suits grid, 128 or more suits siren and fourier")
    n_hidden_layers: PositiveInt = Field(1, description="hidden layers of the MLP: 1 suits grid, 3 or more the others")
    frequency: PositiveFloat = Field(
        30.0,
        description="siren: omega_0 (Sitzmann et al. 2020); fourier: standard deviation of the frequencies in cycles per block",
    )
    n_frequencies: PositiveInt = Field(128, description="fourier: number of random frequencies (Tancik et al. 2020)")

    @field_validator("strides_vox")
    @classmethod
    def _even(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        odd = [stride for stride in value if stride % 2]
        if odd:
            raise ValueError(f"strides {odd} are odd; nodes lie on voxel edges, so give even numbers")
        return value

    @model_validator(mode="after")
    def _levels(self) -> FieldSpec:
        if len(self.strides_vox) != len(self.features):
            raise ValueError(
                f"strides_vox has {len(self.strides_vox)} levels, features has {len(self.features)}; give one number each"
            )
        return self


class FitSpec(Spec):
    """How fields are fitted to the sections and to the prior."""

    mode: Literal["distill", "sds"] = Field(
        "distill",
        description="distill: targets from the measurement-conditioned denoiser, refreshed per sigma; "
        "sds: score distillation from the unconditional prior with fresh noise every step (the paper's way)",
    )
    sigmas: tuple[PositiveFloat, ...] = Field(
        (80.0,), min_length=1, description="distill: noise levels in order; from prior.sigma_max on: the posterior mean"
    )
    sds_sigma_range: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.05, 0.6), description="sds: noise levels are drawn log-uniformly from this range"
    )
    steps: PositiveInt = Field(120, description="optimisation steps (per sigma in distill mode); each renders a subset of slices")
    slice_share: float = Field(0.125, gt=0, le=1, description="share of a block's ZX or ZY slices rendered per step")
    learning_rate: PositiveFloat = Field(2e-2, description="peak step size (Adam); cosine decay to a twentieth")
    data_weight: NonNegativeFloat = Field(
        1.0, description="weight of the data term, relative to the prior term at prior_weight 1"
    )
    prior_weight: NonNegativeFloat = Field(1.0, description="weight of the prior term; 0 leaves the data term alone")
    batch_blocks: PositiveInt | None = Field(
        None, description="blocks fitted together in one tensor; null: 1 on CPU, as many as fit in memory on CUDA"
    )
    blocks_per_job: PositiveInt | None = Field(
        None, description="blocks per fit job; null: chosen by plan from block size and count"
    )
    max_attempts: PositiveInt = Field(2, description="attempts per block; each retry has a quarter of the step size")

    @field_validator("sds_sigma_range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"[{value[0]}, {value[1]}] is empty; the first must be below the second")
        return value
