"""Readers: a volume of any supported format as lazy CZYX with an exact voxel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isofield.source.spec import SourceSpec
    from isofield.source.volume import Volume

__all__ = ["open_source"]


def open_source(spec: SourceSpec) -> Volume:
    """The configured volume, lazily; see `isofield.source.opening`. Imports dask only when called."""
    from isofield.source.opening import open_source as opened

    return opened(spec)
