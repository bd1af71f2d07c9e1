"""Metadata of the configured volume, light enough for a Snakefile to ask for while it is parsed."""

from __future__ import annotations

from types import ModuleType

from isofield.errors import InputError
from isofield.geometry import exact_nm
from isofield.source.damage import readable
from isofield.source.paths import expand, reader_for
from isofield.source.simulate import simulated_info
from isofield.source.spec import SourceSpec
from isofield.source.stored import Stored
from isofield.source.volume import VolumeInfo, VoxelSize

ACCEPTED_DTYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")


def probe(spec: SourceSpec) -> VolumeInfo:
    """What the configured volume is, after channel selection and simulation; no voxel is read.

    Raises InputError for what cannot be used, naming the key of the configuration that would help.
    """
    _, stored = find(spec)
    return measured_info(stored_info(spec, stored), spec)


def find(spec: SourceSpec) -> tuple[ModuleType, Stored]:
    """Reader and metadata of the array at `spec.path`. Relative paths start at the working directory."""
    uri = expand(spec.path)
    with readable(uri):
        reader, path = reader_for(uri)
        return reader, reader.describe(path, spec.dataset)


def stored_info(spec: SourceSpec, stored: Stored) -> VolumeInfo:
    """The volume as it is stored, with the chosen channel and voxel size; not yet simulated."""
    if stored.dtype not in ACCEPTED_DTYPES:
        raise InputError(
            "source.path",
            str(stored.path),
            f"holds {stored.dtype}; accepted are {', '.join(ACCEPTED_DTYPES)}",
            "Convert it, keeping its grey values",
        )
    if stored.length("z") < 2:
        raise InputError("source.path", str(stored.path), "has a single section", "Give a volume of 2 sections or more")
    voxel_size_nm = _voxel_size_nm(spec, stored)
    shape = (_n_channels(spec, stored), *(stored.length(axis) for axis in "zyx"))
    return VolumeInfo(
        uri=expand(spec.path),
        format=stored.format,
        dataset=stored.dataset,
        shape=shape,  # type: ignore[arg-type]
        dtype=stored.dtype,
        voxel_size_nm=voxel_size_nm,
        identity=stored.identity
        | {
            "dataset": stored.dataset or "",
            "channel": spec.channel or 0,
            "shape": " x ".join(map(str, shape)),
            "dtype": stored.dtype,
            "voxel_size_nm": " x ".join(map(str, voxel_size_nm)),
        },
    )


def measured_info(info: VolumeInfo, spec: SourceSpec) -> VolumeInfo:
    """The volume that the reconstruction starts from: `info`, or what `source.simulate` makes of it."""
    return info if spec.simulate is None else simulated_info(info, spec.simulate)


def _n_channels(spec: SourceSpec, stored: Stored) -> int:
    n_channels = stored.length("c")
    if spec.channel is None and n_channels > 1:
        raise InputError(
            "source.channel",
            None,
            f"{stored.path} has {n_channels} channels and one is reconstructed at a time",
            f"Set source.channel to 0 ... {n_channels - 1}",
        )
    if (spec.channel or 0) >= n_channels:
        raise InputError(
            "source.channel",
            spec.channel,
            f"{stored.path} has {n_channels} channels, counted from 0",
            "Choose one of them",
        )
    return 1


def _voxel_size_nm(spec: SourceSpec, stored: Stored) -> VoxelSize:
    if spec.voxel_size_nm is not None:
        z, y, x = (exact_nm(side) for side in spec.voxel_size_nm)
        return z, y, x
    if stored.size.nm is None:
        raise InputError(
            "source.voxel_size_nm",
            None,
            f"the voxel size of {stored.path} is not known: {stored.size.problem}",
            "Set source.voxel_size_nm to its z, y, x in nm",
        )
    return stored.size.nm
