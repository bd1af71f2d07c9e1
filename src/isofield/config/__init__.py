"""The configuration: every section's Spec composed, read from YAML, checked, and cut down to what a stage may see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from isofield.blocks import BlocksSpec
from isofield.config.consistency import kernel_in_force, operator_in_force, require_consistent
from isofield.config.file import read_mapping, with_overrides
from isofield.defects.spec import SectionsSpec
from isofield.errors import InputError
from isofield.field.spec import FieldSpec, FitSpec
from isofield.intensity import IntensitySpec
from isofield.measurement import MeasurementSpec, Operator
from isofield.omezarr.spec import OutputSpec
from isofield.prior.spec import PriorSpec
from isofield.quality.spec import QualitySpec
from isofield.records import fingerprint
from isofield.report.spec import ReportSpec
from isofield.source.spec import KernelFile, SourceSpec
from isofield.spec import Spec
from isofield.verify.spec import VerifySpec


class RunSpec(Spec):
    """The run as a whole."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="name of the run and of its results folder: letters and digits, after the first also . _ -",
    )
    results: str = Field(
        "results", min_length=1, description="folder under which runs keep their results; its name has no { }, nor a - in front"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of everything random: same seed, same bytes (on CPU)")
    threads_per_job: PositiveInt = Field(
        2, description="CPU threads per job; part of what makes results reproducible bit for bit, so set, not detected"
    )
    memory_gb: PositiveFloat | None = Field(
        None, description="memory one job may use in GB (10^9 bytes); null: what this machine has"
    )
    keep_fields: bool = Field(
        False,
        description="keep the fitted fields once the image is complete, about as many bytes as it has voxels; without them a "
        "lost or changed part of the image is fitted anew",
    )
    on_failed_block: Literal["stop", "fallback"] = Field(
        "stop",
        description="what to do about a block that failed fit.max_attempts times. stop: the run ends and names it, the others "
        "are kept; fallback: its place is filled with the cubic interpolation of the sections, and status, metrics and report "
        "count it. Where more than half of a job's blocks fail, the run ends either way",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the prior is trained and fields are fitted; auto: CUDA where there is one, else CPU; or cpu, cuda, "
        "cuda:1",
    )

    @field_validator("results")
    @classmethod
    def _no_wildcards(cls, value: str) -> str:
        """Snakemake takes what stands in braces for a wildcard, and ends names at line breaks; programs take -x for an option."""
        if value.startswith("-"):
            raise ValueError("begins with a dash, which programs take for an option; give a name, or a whole path")
        if odd := {"{", "}", "\n", "\0"} & set(value):
            raise ValueError(f"holds {' '.join(map(repr, sorted(odd)))}, which Snakemake does not take for part of a name")
        return value


class Config(Spec):
    """The whole configuration; one attribute per section."""

    run: RunSpec
    source: SourceSpec
    measurement: MeasurementSpec = Field(default_factory=MeasurementSpec)
    sections: SectionsSpec = Field(default_factory=SectionsSpec)
    intensity: IntensitySpec = Field(default_factory=IntensitySpec)
    blocks: BlocksSpec = Field(default_factory=BlocksSpec)
    prior: PriorSpec = Field(default_factory=PriorSpec)
    field: FieldSpec = Field(default_factory=FieldSpec)
    fit: FitSpec = Field(default_factory=FitSpec)
    output: OutputSpec = Field(default_factory=OutputSpec)
    quality: QualitySpec = Field(default_factory=QualitySpec)
    report: ReportSpec = Field(default_factory=ReportSpec)
    verify: VerifySpec = Field(default_factory=VerifySpec)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        """A section with all its keys commented out reads as null; it means the defaults."""
        return {} if value is None else value

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        require_consistent(self.source, self.measurement, self.prior)
        return self

    @property
    def operator(self) -> Operator:
        """The measurement operator in force."""
        return operator_in_force(self.source, self.measurement)

    @property
    def kernel(self) -> KernelFile | None:
        """The file with the profile of the operator in force; None if that needs none."""
        return kernel_in_force(self.source, self.measurement)

    def section_json(self, *names: str) -> str:
        """Canonical JSON of some sections, or of single keys of one ("fit.blocks_per_job"): what a rule depends on."""
        return _canonical({name: getattr(self, name) for name in type(self).model_fields}, names)


def _canonical(sections: Mapping[str, Spec], names: Iterable[str]) -> str:
    chosen: dict[str, Any] = {}
    for name in sorted(names):
        section, _, key = name.partition(".")
        values = sections[section].model_dump(mode="json")
        chosen.setdefault(section, {}).update({key: values[key]} if key else values)
    return json.dumps(chosen, sort_keys=True, separators=(",", ":"))


SECTIONS: dict[str, type[Spec]] = {
    name: info.annotation  # type: ignore[misc]
    for name, info in Config.model_fields.items()
}


class Sections:
    """Some sections of a configuration, by name; asking for one that was not given is an error.

    A rule passes only the sections it depends on. A stage that read another would work from defaults and its results would
    not change when the user changes that section; this makes it fail instead.
    """

    def __init__(self, given: Mapping[str, Spec], names: Iterable[str]) -> None:
        self._given = dict(given)
        self._json = _canonical(self._given, names)

    @property
    def mark(self) -> str:
        """Fingerprint of the values a stage was given; what it makes carries it, and is stale under any other."""
        return section_mark(self._json)

    def given(self) -> dict[str, Any]:
        """What the stage was given, as plain values."""
        return json.loads(self._json)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._given:
            raise AttributeError(f"this stage was not given the section {name!r}, only {sorted(self._given)}")
        return self._given[name]

    def __contains__(self, name: str) -> bool:
        return name in self._given


def section_mark(section_json: str) -> str:
    """Fingerprint of what `Config.section_json` returns."""
    return fingerprint(section_json)[:16]


def load_config(text: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """The configuration in a YAML file, or in `text` itself if it is a JSON object, with `section.key=value` overrides.

    Raises InputError naming the key, its value, the limit and the remedy.
    """
    return make_config(with_overrides(read_mapping(text), overrides))


def make_config(values: Mapping[str, Any]) -> Config:
    """A checked Config from nested mappings. Raises InputError."""
    with reported():
        return Config.model_validate(values)


def load_sections(text: str | os.PathLike[str], names: Iterable[str], overrides: Iterable[str] = ()) -> Sections:
    """The named sections of a configuration, whole or cut down as by `Config.section_json`."""
    values = with_overrides(read_mapping(text), overrides)
    names = tuple(names)
    sections = {name.partition(".")[0] for name in names}
    # Together with the source, sections are checked against each other, and unknown ones are found.
    if sections - values.keys() or "source" in values:
        whole = make_config(values)
        return Sections({name: getattr(whole, name) for name in sections}, names)
    with reported():
        return Sections({name: SECTIONS[name].model_validate(values[name] or {}) for name in sections}, names)


class reported:  # noqa: N801  (reads as a verb at its use)
    """Turns pydantic's ValidationError into an InputError about the first wrong key, mentioning how many more there are."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, ValidationError):
            return
        # An unknown key first: one that is misspelt is missing as well.
        first, *others = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"]) or "configuration"
        limit = first["msg"].removeprefix("Value error, ")
        remedy = "Mend it in the configuration"
        if first["type"] == "extra_forbidden":
            limit, remedy = "is an unknown key", f"Remove it from the configuration, or did you mean {_nearest(key)}?"
        elif first["type"] == "missing":
            limit, remedy = "is required", "Add it to the configuration"
        elif first["type"] == "string_type":
            remedy = "Put it in quotes in the configuration"
        elif first["type"] == "string_pattern_mismatch":
            limit, remedy = f"is not of the form {first['ctx']['pattern']}", f"Mend it in the configuration ({_meaning(first)})"
        more = f" ({len(others)} more: {', '.join('.'.join(map(str, e['loc'])) for e in others[:5])})" if others else ""
        shown = first["input"] if first["type"] != "missing" else None
        raise InputError(key, shown, limit, f"{remedy}{more}") from None


def specs_in(annotation: Any) -> list[type[Spec]]:
    """The Specs that a field's type names: itself, or members of its union."""
    return [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Spec)]


def _meaning(error: Mapping[str, Any]) -> str:
    """The description of the key that an error is about."""
    spec: Any = Config
    *sections, name = error["loc"]
    for section in sections:
        spec = specs_in(spec.model_fields[section].annotation)[0]
    return spec.model_fields[name].description


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    section, _, name = key.rpartition(".")
    spec: type[Spec] = Config
    for part in section.split(".") if section else ():
        spec = specs_in(spec.model_fields[part].annotation)[0]
    known = list(spec.model_fields)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"{section}." if section else "") + close[0] if close else f"one of {', '.join(known)}"
