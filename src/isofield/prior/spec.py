"""What the shared 2-D diffusion prior is and how it is trained."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from isofield.spec import Spec

Precision = Literal["auto", "float32"]


SLICE_OFFSETS = (1, 2, 4)
"""How far, in voxels, the slices before and behind lie that the network of a second round sees."""
RESTORED_VOX = 2**26
"""Voxels of what a second round learns from, at most about: restored in two minutes of two cores."""
PART_SECTIONS, PART_VOX = 32, 256
"""Size of what is restored at once for it, at most, in sections and, along y and x, in voxels."""
NOT_TRAINED_BY = frozenset({"checkpoint_every_s", "init", "channel"})
"""Keys that change nothing in what is trained, or whose content does where their name does not."""


class PriorSpec(Spec):
    """The 2-D diffusion denoiser learned from XY slices (EDM, Karras et al. 2022)."""

    channels: tuple[PositiveInt, ...] = Field(
        (32, 64, 96),
        min_length=1,
        max_length=5,
        description="channels of the network per resolution level, finest first",
    )
    n_residual_blocks: PositiveInt = Field(1, description="residual blocks per level, down and up each")
    neighbours: int = Field(
        1,
        ge=0,
        le=4,
        description="neighbouring sections on each side that the network sees beside the one it works on; they cost little and "
        "give it a view in depth",
    )
    rounds: Literal[1, 2] = Field(
        2,
        description="2: half of the steps train a first network, which restores a part of the volume; the rest train a second "
        "one on XY slices of that, which are thin as sections are not, between the slices beside them (docs/method.md). With an "
        "init, that is the first network. 1: all steps train one network",
    )
    noise_match: float = Field(
        1.0,
        ge=0,
        le=2,
        description="share of the sections' own noise that training conditions are given back: degrading averages noise out, "
        "measured sections have it, and a prior that never saw it takes it for structure and draws it out along z",
    )
    init: str | None = Field(
        None,
        min_length=1,
        description="prior.safetensors of another volume of the same kind to start from instead of random weights; its network "
        "must be of the same size. Fewer steps will do then. $VAR and ${VAR:-default} are expanded; null: start from scratch",
    )
    channel: NonNegativeInt | None = Field(
        None,
        description="where source.channel names several: the one whose prior all of them use; null: each channel has a prior of "
        "its own",
    )
    steps: NonNegativeInt = Field(8000, description="training steps; 0: the prior in prior.init is used as it is")
    batch: PositiveInt = Field(10, description="patches per training step")
    patch_vox: int = Field(80, ge=16, multiple_of=8, description="side of a training patch in lateral voxels")
    learning_rate: PositiveFloat = Field(
        4e-3,
        description="peak learning rate (Muon for the kernels inside the network, Adam for the rest); cosine decay to zero",
    )
    warmup_steps: PositiveInt = Field(100, description="steps over which the learning rate rises from zero")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="decay per step of the averaged weights that are kept")
    posterior_mean_share: float = Field(
        0.75,
        ge=0,
        le=1,
        description="share of a batch that trains the conditional mode at infinite sigma (posterior mean)",
    )
    unconditional_share: float = Field(
        0.125, ge=0, le=1, description="share of a batch that trains the unconditional mode; the rest is conditional"
    )
    sigma_log_mean: float = Field(-1.2, description="mean of ln sigma of the training noise")
    sigma_log_std: PositiveFloat = Field(1.2, description="standard deviation of ln sigma of the training noise")
    sigma_max: PositiveFloat = Field(80.0, description="from this sigma on the noisy input is treated as carrying nothing")
    pool_bytes: PositiveInt = Field(
        512 * 2**20, description="bytes of XY crops held in memory to draw patches from, spread over the whole volume"
    )
    precision: Precision = Field(
        "auto",
        description="auto: the network computes in bfloat16 where the device does so natively (NVIDIA from Ampere on, CPUs with "
        "AVX512-BF16 or AMX), which is two to four times faster, else in float32; float32: always float32",
    )
    checkpoint_every_s: PositiveFloat = Field(30.0, description="seconds between training checkpoints")

    @model_validator(mode="after")
    def _something_to_use(self) -> PriorSpec:
        if self.steps == 0 and self.init is None:
            raise ValueError("steps is 0 and there is no init; name the prior to use in prior.init, or train for some steps")
        return self

    @property
    def slice_offsets(self) -> tuple[int, ...]:
        """How far, in voxels, the slices lie that the network sees beside its own, on each side."""
        return SLICE_OFFSETS if self.rounds == 2 else ()

    @property
    def beside(self) -> dict[str, Any]:
        """What `block_data` is told of what the network sees beside a slice."""
        return {"n_neighbours": self.neighbours, "slice_offsets": self.slice_offsets}

    @property
    def n_beside(self) -> int:
        """What the network sees beside its own slice: neighbouring sections, and slices, on both sides."""
        return 2 * (self.neighbours + len(self.slice_offsets))

    @property
    def n_condition(self) -> int:
        """Condition channels: the interpolated measurement, what stands beside it, cosine and sine of the place in a section."""
        return 3 + self.n_beside

    @model_validator(mode="after")
    def _two_rounds(self) -> PriorSpec:
        if 0 < self.steps < self.rounds:
            raise ValueError(f"steps is {self.steps}, fewer than rounds ({self.rounds}); train for more steps")
        if self.rounds == 2 and not self.posterior_mean_share:
            raise ValueError(
                "posterior_mean_share is 0 and rounds is 2, whose first network restores by its posterior mean; "
                "raise the share, or set rounds to 1"
            )
        return self

    @model_validator(mode="after")
    def _shares(self) -> PriorSpec:
        if self.posterior_mean_share + self.unconditional_share > 1:
            raise ValueError(
                f"posterior_mean_share {self.posterior_mean_share} + unconditional_share {self.unconditional_share} "
                "exceed 1; lower one of them"
            )
        return self


def axial_fold(ratio: Fraction) -> int:
    """Planes that are folded into channels before the first convolution: those of a section, where it is whole planes thick.

    Along z nothing is known that is finer than a section. Folded section by section, every plane keeps its channel and its
    place in the section, and the network need not learn one and the same thing once per place. At equal time of training this is
    worth 0.17 dB at x8, and 0.05 dB at x4 over two sections at a time. At ratios that are not whole, places drift through the
    channels; four planes are worth 0.1 dB over eight at x4.5 there, and nothing at x10.9 (docs/method.md).
    """
    if ratio.denominator == 1 and ratio > 1:
        return int(ratio)
    return 8 if ratio > 8 else 4
