"""What the user says about sections that were lost or spoilt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, model_validator

from isofield.spec import Spec

Kind = Literal["listed", "missing", "faint", "saturated", "duplicate", "noisy", "outlier"]


class BadSection(Spec):
    """A section (counted from 0 in the source) that is not to be believed, what is wrong with it, and on what grounds."""

    section: NonNegativeInt
    kind: Kind
    why: str


class SectionsSpec(Spec):
    """Bad sections: missing, black, saturated, duplicated or torn ones, which are reconstructed from their neighbours."""

    bad: tuple[NonNegativeInt, ...] = Field(
        (), description="sections known to be bad, counted from 0 in the source, as [17, 40]; detected ones are added"
    )
    good: tuple[NonNegativeInt, ...] = Field((), description="sections that are good, whatever the detection says")
    detect: bool = Field(True, description="look for bad sections when the run is planned")
    contrast_below: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="a section is bad where its standard deviation is less than this share of that of the sections around it; "
        "constant ones always are",
    )
    saturated_share: float = Field(
        0.5, gt=0, le=1, description="a section is bad where more than this share of it has the highest value of the volume"
    )
    difference_below: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="a section is a duplicate where it differs from the one before by less than this share of what is usual",
    )
    noise_above: float = Field(
        6.0, gt=1, description="a section is bad where it is noisier than the sections around it by more than this factor"
    )
    likeness_below: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="a section is bad where its correlation with all sections around it is below this share of what is usual",
    )
    area_share: float = Field(
        0.5, gt=0, le=1, description="share of a section's area, of what has contrast around it, that makes the section bad"
    )

    @model_validator(mode="after")
    def _not_both(self) -> SectionsSpec:
        if both := sorted(set(self.bad) & set(self.good)):
            raise ValueError(f"sections {both} are named in both bad and good; drop them from one")
        return self
