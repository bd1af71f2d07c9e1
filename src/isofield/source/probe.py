"""Metadata of the configured volume, light enough for a Snakefile to ask for while it is parsed."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from isofield.errors import InputError
from isofield.geometry import exact_nm
from isofield.source.damage import readable
from isofield.source.instrument import instrument_of
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


class Found(NamedTuple):
    """One channel that is reconstructed: the spec that names it alone, its name, and the volume it is."""

    spec: SourceSpec
    name: str
    info: VolumeInfo


def probe_channels(spec: SourceSpec) -> list[Found]:
    """What `probe` says, of each channel that the spec names; the names are those of the metadata, else `channel n`.

    Raises InputError like `probe`, and for channels that are not there.
    """
    return channels_in(find(spec)[1], spec)


def channels_in(stored: Stored, spec: SourceSpec) -> list[Found]:
    """The same, of metadata that have been read."""
    if not spec.has_several:
        return [Found(spec, "", measured_info(stored_info(spec, stored), spec))]
    n_channels = stored.length("c")
    channels = range(n_channels) if spec.channel == "all" else spec.channel
    for channel in channels:  # type: ignore[union-attr]
        if channel >= n_channels:
            limit = f"{stored.path} has {n_channels} channels, counted from 0, not {channel}"
            remedy = f"Choose from 0 ... {n_channels - 1}, or set it to all"
            raise InputError("source.channel", list(channels), limit, remedy)  # type: ignore[arg-type]
    # A volume's only channel need not be named: it is the volume.
    named = [spec.model_copy(update={"channel": None if n_channels == 1 else channel}) for channel in channels]  # type: ignore[union-attr]
    names = _names(stored)
    infos = [measured_info(stored_info(one, stored), one) for one in named]
    return [Found(one, names[one.channel or 0], info) for one, info in zip(named, infos, strict=True)]  # type: ignore[index]


def _names(stored: Stored) -> list[str]:
    with readable(str(stored.path)):
        stated = instrument_of(stored).channels
    n = stored.length("c")
    return [name.strip() or f"channel {k}" for k, name in enumerate(stated if len(stated) == n else ("",) * n)]


def _n_channels(spec: SourceSpec, stored: Stored) -> int:
    n_channels = stored.length("c")
    if spec.has_several:
        shown = "all" if spec.channel == "all" else list(spec.channel)  # type: ignore[arg-type]
        limit = f"names channels that are reconstructed one by one; here one is needed of the {n_channels} of {stored.path}"
        raise InputError("source.channel", shown, limit, f"Set source.channel to one of 0 ... {n_channels - 1}")
    if spec.channel is None and n_channels > 1:
        raise InputError(
            "source.channel",
            None,
            f"{stored.path} has {n_channels} channels and none is named",
            f"Set source.channel to one of 0 ... {n_channels - 1}, to several as [0, 1], or to all",
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
