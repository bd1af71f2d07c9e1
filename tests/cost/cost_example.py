"""Volumes that are described and not there, and the layouts of runs over them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from isofield.config import Config, make_config
from isofield.plan import Layout, lay_out
from isofield.source.volume import VolumeInfo


def configured(**sections: dict[str, Any]) -> Config:
    return make_config({"run": {"name": "paper"}, "source": {"path": "none"}} | sections)


def laid_out(config: Config, shape: tuple[int, ...], voxel_nm: tuple = (40, 4, 4), dtype: str = "uint8") -> Layout:
    return lay_out(config, volume(shape, voxel_nm, dtype))


def volume(shape: tuple[int, ...], voxel_nm: tuple = (40, 4, 4), dtype: str = "uint8") -> VolumeInfo:
    size = tuple(Fraction(str(side)) for side in voxel_nm)
    return VolumeInfo("none", "given", None, (1, *shape), dtype, size, {})  # type: ignore[arg-type]
