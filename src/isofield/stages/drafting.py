"""A first configuration for a volume, from its metadata alone: what was found, what has to be asked, nothing guessed."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from isofield.config import make_config
from isofield.cost.estimate import Machines, duration, estimate
from isofield.cost.rules import expected_speed
from isofield.errors import InputError
from isofield.plan import Layout, lay_out
from isofield.source.instrument import Instrument, instrument_of
from isofield.source.probe import channels_in, find
from isofield.source.spec import SourceSpec
from isofield.source.stored import Stored
from isofield.units import Unit, units_of

NEARLY_ISOTROPIC = 1.2
"""Ratio of section thickness to pixel size below which sampling is not what makes a volume anisotropic."""
EM_BELOW_NM, LIGHT_ABOVE_NM = 30, 90
"""Pixels smaller than the first are those of electron microscopes, larger than the second those of light microscopes."""
LIKELY_NM = (1, 20_000)
"""Pixel sizes outside of this are more often a unit that went wrong than a microscope."""
DEFAULTS = "What is not here has its default; `isofield config` prints every key with its meaning."
AS_TRUTH = (
    "Sampled about as finely along z. If it is sharp along z too, it can serve as truth: degraded, reconstructed and compared "
    "with itself."
)
SECTIONS = (
    "NOT GUESSED: how deep a section sees. As it stands, a section is the average of the depth it stands for: right for serial "
    "sections and block-face imaging (ssTEM, ATUM, SBEM, FIB-SEM)."
)
GAUSSIAN = (
    "Fluorescence sees as deep as its point spread function is long, often deeper than the next section. Then take the Gaussian; "
    "its full width at half maximum comes from beads or from the optics. Where it is wide, `isofield plan` says how much "
    "blocks.context_vox must grow:"
)
OBJECTIVE = "The metadata state the objective; from a widefield one the width follows, of any other give fwhm_nm instead."
_ENDINGS = re.compile(r"(\.ome)?\.(tiff?|h5|hdf5?|zarr|n5|nrrd|nhdr|mrc|rec|czi|lif|nd2|ims)$|/+$", re.IGNORECASE)


@dataclass(frozen=True)
class Draft:
    """A configuration as text, and what it rests on.

    found: facts for machines. said: the same for people, a line each. asked: keys that must be filled in, with the reason.
    refused: what `isofield plan` will say of it if these are filled in and nothing else is done; None if it can run.
    """

    name: str
    text: str
    found: dict[str, Any]
    said: tuple[str, ...]
    asked: dict[str, str]
    refused: str | None

    @property
    def ready(self) -> bool:
        """Whether a run with it would start."""
        return not self.asked and self.refused is None


def draft(source: SourceSpec, name: str | None = None) -> Draft:
    """A configuration for the volume that `source` names. Raises InputError for what is no volume, or several of them."""
    _, stored = find(source)
    instrument = instrument_of(stored)
    name = name or name_for(source.path)
    asked = _asked(source, stored)
    size_nm = source.voxel_size_nm or (tuple(float(v) for v in stored.size.nm) if stored.size.nm else None)
    layout = refused = minutes = None
    if size_nm and "source.channel" not in asked:
        config = make_config({"run": {"name": name}, "source": source.model_dump()})
        try:
            units = units_of(config)
            # All channels have one geometry.
            layout = lay_out(units[0].config, units[0].volume)
            minutes = _duration(units, layout)
        except InputError as error:
            refused = str(error)
    modality = _modality(instrument, size_nm)
    found = {
        "path": source.path,
        "format": stored.format,
        "dataset": stored.dataset,
        "shape_zyx": [stored.length(axis) for axis in "zyx"],
        "n_channels": stored.length("c"),
        "channels": list(instrument.channels),
        "dtype": stored.dtype,
        "voxel_size_nm": list(size_nm) if size_nm else None,
        "voxel_size_from": "given" if source.voxel_size_nm else "metadata" if size_nm else None,
        "ratio": size_nm[0] / size_nm[2] if size_nm else None,
        "fluorescence": instrument.evidence,
        "emission_nm": instrument.emission_nm,
        "numerical_aperture": instrument.numerical_aperture,
        "refractive_index": instrument.refractive_index,
        "output_shape_zyx": list(layout.shape) if layout else None,
        "duration_cpu": minutes,
    }
    said = _said(found, modality, source, stored)
    text = _text(name, source, stored, found, asked, refused, modality)
    return Draft(name, text, found, tuple(said), asked, refused)


def name_for(path: str) -> str:
    """A run name from a path: its last part without the endings of volumes, with letters that names may have."""
    stem = re.split(r"[/\\]", path.rstrip("/"))[-1]
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", _ENDINGS.sub("", stem)).lstrip("._-")[:100]
    return cleaned or "volume"


def _asked(source: SourceSpec, stored: Stored) -> dict[str, str]:
    asked = {}
    if source.voxel_size_nm is None and stored.size.nm is None:
        asked["source.voxel_size_nm"] = stored.size.problem
    try:
        channels_in(stored, source.model_copy(update={"voxel_size_nm": source.voxel_size_nm or (1.0, 1.0, 1.0)}))
    except InputError as error:
        if error.thing != "source.channel" or source.channel is not None:
            raise
        asked["source.channel"] = error.limit
    return asked


def _duration(units: Sequence[Unit], layout: Layout) -> str:
    """How long all of it takes, one channel after the other."""
    machines = Machines(0, os.cpu_count() or 1)
    speed = expected_speed(units[0].config, layout, False)
    return duration(sum(estimate(unit.config, unit.volume, layout, speed, machines).wall_s for unit in units))


def _modality(instrument: Instrument, size_nm: tuple[float, ...] | None) -> str:
    """What kind of microscope it was, as far as anything says so."""
    if instrument.evidence:
        return f"fluorescence: the metadata state {instrument.evidence}"
    if size_nm is None:
        return "not stated"
    if size_nm[2] < EM_BELOW_NM:
        return f"not stated; pixels of {size_nm[2]:g} nm are those of an electron microscope"
    if size_nm[2] > LIGHT_ABOVE_NM:
        return f"not stated; pixels of {size_nm[2]:g} nm are those of a light microscope"
    return "not stated; the pixel size would suit light as well as electrons"


def _said(found: dict[str, Any], modality: str, source: SourceSpec, stored: Stored) -> list[str]:
    said = [f"format      {found['format']}" + (f", dataset {stored.dataset}" if stored.dataset else "")]
    said.append(f"voxels      {' x '.join(map(str, found['shape_zyx']))} (z, y, x), {found['dtype']}")
    if found["n_channels"] > 1:
        said.append(f"channels    {found['n_channels']}{_named(found['channels'])}")
    size_nm, ratio = found["voxel_size_nm"], found["ratio"]
    if size_nm is None:
        said.append(f"voxel size  unknown: {stored.size.problem}")
    else:
        origin = "as given" if source.voxel_size_nm else "from the metadata"
        said.append(f"voxel size  {' x '.join(f'{v:g}' for v in size_nm)} nm (z, y, x), {origin}")
        if not LIKELY_NM[0] <= size_nm[2] <= LIKELY_NM[1]:
            said.append(f"            hardly a microscope's: is the unit right? {LIKELY_NM[0]} nm to {LIKELY_NM[1]} nm is usual")
        if source.voxel_size_nm and stored.size.nm and [float(v) for v in stored.size.nm] != list(source.voxel_size_nm):
            said.append(f"            the metadata say {' x '.join(f'{float(v):g}' for v in stored.size.nm)} nm instead")
        said.append(f"anisotropy  {ratio:.4g}{_about(ratio)}")
    said.append(f"microscope  {modality}")
    optics = [
        f"{label} {found[key]:g}"
        for key, label in (("emission_nm", "emission nm"), ("numerical_aperture", "NA"), ("refractive_index", "refractive index"))
        if found[key]
    ]
    if optics:
        said.append(f"optics      {', '.join(optics)}")
    if found["output_shape_zyx"]:
        shape = " x ".join(map(str, found["output_shape_zyx"]))
        said.append(
            f"result      {shape} voxels of {size_nm[2]:g} nm; about {found['duration_cpu']} on this machine without a GPU"
        )
    return said


def _named(channels: list[str]) -> str:
    named = ", ".join(f"{index} {name or 'without a name'}" for index, name in enumerate(channels))
    return f": {named}" if any(channels) else ""


def _about(ratio: float) -> str:
    if ratio >= NEARLY_ISOTROPIC:
        return ""
    return ": sampled about as finely along z as within sections; what is left is the blur of the optics"


def _text(
    name: str,
    source: SourceSpec,
    stored: Stored,
    found: dict[str, Any],
    asked: dict[str, str],
    refused: str | None,
    modality: str,
) -> str:
    lines = _comment("", f"Configuration for {source.path}, from its metadata. {DEFAULTS}")
    if asked:
        lines += _comment("", f"To be filled in before it runs: {', '.join(asked)}.")
    if refused:
        lines += _comment("", f"`isofield plan` refuses it as it stands: {refused}")
    lines += ["run:", f"  name: {_scalar(name)}", f"  # Results go to results/{name}."]
    lines += ["source:", *_comment("  ", _of_array(found)), f"  path: {_scalar(source.path)}"]
    if source.dataset:
        lines.append(f"  dataset: {_scalar(source.dataset)}")
    lines += _channel(source, found, asked) + _voxel_size(source, stored, found, asked)
    lines += _simulation(found) + _measurement(found, modality) + _training(found)
    return "\n".join(lines) + "\n"


def _of_array(found: dict[str, Any]) -> str:
    shape = " x ".join(map(str, found["shape_zyx"]))
    return f"{found['format']}, {shape} voxels (z, y, x), {found['dtype']}. A relative path starts where the commands are typed."


def _channel(source: SourceSpec, found: dict[str, Any], asked: dict[str, str]) -> list[str]:
    if source.channel is not None:
        return [f"  channel: {_scalar(source.channel)}"]
    if "source.channel" not in asked:
        return []
    n = found["n_channels"]
    return [
        *_comment("  ", f"NOT GUESSED: which of the {n} channels, 0 to {n - 1}{_named(found['channels'])}."),
        "  channel: null",
        *_comment("  ", "Each of them, by itself and into one image; some of them: [0, 1], say."),
        "  # channel: all",
    ]


def _voxel_size(source: SourceSpec, stored: Stored, found: dict[str, Any], asked: dict[str, str]) -> list[str]:
    if "source.voxel_size_nm" in asked:
        reason = f"NOT GUESSED: z, y, x in nm. The file does not tell ({stored.size.problem}); runs are refused until it is here."
        return [*_comment("  ", reason), "  voxel_size_nm: null"]
    values = _scalar([int(v) if v == int(v) else v for v in found["voxel_size_nm"]])
    if source.voxel_size_nm:
        return ["  # z, y, x in nm.", f"  voxel_size_nm: {values}"]
    return [
        *_comment("  ", "From the metadata: z, y, x in nm. If that is wrong, write what is right."),
        f"  # voxel_size_nm: {values}",
    ]


def _simulation(found: dict[str, Any]) -> list[str]:
    if found["ratio"] is None or found["ratio"] >= NEARLY_ISOTROPIC:
        return []
    return [*_comment("  ", AS_TRUTH), "  # simulate: {factor: 8}"]


def _measurement(found: dict[str, Any], modality: str) -> list[str]:
    size_nm = found["voxel_size_nm"]
    thickness = f"{size_nm[0]:g}" if size_nm else "500"
    optics = {"numerical_aperture": "numerical_aperture", "emission_nm": "wavelength_nm", "refractive_index": "refractive_index"}
    stated = {key: found[name] for name, key in optics.items() if found[name]}
    lines = ["measurement:", *_comment("  ", f"Microscope: {modality}."), *_comment("  ", SECTIONS), *_comment("  ", GAUSSIAN)]
    if len(stated) == len(optics):
        lines += _comment("  ", OBJECTIVE)
        return [*lines, "  # operator: gaussian", f"  # objective: {_scalar(stated)}"]
    return [*lines, "  # operator: gaussian", f"  # fwhm_nm: {thickness}"]


def _training(found: dict[str, Any]) -> list[str]:
    took = f" (all in all about {found['duration_cpu']} on this machine without a GPU)" if found["duration_cpu"] else ""
    return [
        "prior:",
        *_comment("  ", f"Quality comes from training: 8000 steps are the default{took}. A first look takes fewer:"),
        "  # steps: 2000",
    ]


def _comment(indent: str, text: str) -> list[str]:
    return textwrap.wrap(text, 120, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False)


def _scalar(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()
