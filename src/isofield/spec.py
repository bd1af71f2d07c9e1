"""The base of every configuration section: frozen, complete, and strict about names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """One section of the configuration. Immutable; unknown keys are errors; every field has a description.

    A field's unit, where it has one, is the suffix of its name (`_nm`, `_vox`, `_s`, `_gb`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
