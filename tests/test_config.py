"""The configuration: what is wrong is named with its value, limit and remedy; stages see only what they declare."""

from __future__ import annotations

import json
import re
from operator import attrgetter
from pathlib import Path

import pytest

from isofield.config import SECTIONS, load_config, load_sections, make_config
from isofield.errors import InputError
from isofield.stages import SECTIONS_READ

MINIMAL = {"run": {"name": "a"}, "source": {"path": "phantom:tissue"}}
CONFIG_FOLDER = Path(__file__).parents[1] / "config"


def changed(**sections: object) -> dict[str, object]:
    """The minimal configuration with some sections merged in."""
    merged = dict(MINIMAL)
    for name, values in sections.items():
        merged[name] = {**MINIMAL.get(name, {}), **values} if isinstance(values, dict) else values
    return merged


def complaint(values: dict[str, object]) -> InputError:
    with pytest.raises(InputError) as caught:
        make_config(values)
    error = caught.value
    assert str(error) == f"{error.thing}: {error.value!r}: {error.limit}. {error.remedy}"
    return error


def test_name_and_path_are_enough():
    config = make_config(MINIMAL)
    assert config.run.name == "a"
    assert config.blocks.write_vox == 128
    assert config.operator == "section"


# Wrong input, one way each: (values, thing, value, part of limit, part of remedy)

WRONG = {
    "unknown key": (
        changed(blocks={"write_voxels": 64}),
        "blocks.write_voxels",
        64,
        "unknown key",
        "did you mean blocks.write_vox?",
    ),
    "unknown section": (
        changed(bloks={"write_vox": 64}),
        "bloks",
        {"write_vox": 64},
        "unknown key",
        "did you mean blocks?",
    ),
    "unknown nested key": (
        changed(source={"simulate": {"factor": 8, "oprator": "skip"}}),
        "source.simulate.oprator",
        "skip",
        "unknown key",
        "did you mean source.simulate.operator?",
    ),
    "unknown key like none": (
        changed(run={"zzz": 1}),
        "run.zzz",
        1,
        "unknown key",
        "did you mean one of name, results, seed, threads_per_job, memory_gb, keep_fields, on_failed_block, device?",
    ),
    "missing key": ({"run": {}, "source": {"path": "x"}}, "run.name", None, "required", "Add"),
    "missing section": ({"run": {"name": "a"}}, "source", None, "required", "Add"),
    "section without keys": ({"run": {"name": "a"}, "source": None}, "source.path", None, "required", "Add"),
    "section that is a number": (changed(blocks=3), "blocks", 3, "valid dictionary", "Mend"),
    "wrong type": (changed(blocks={"write_vox": "wide"}), "blocks.write_vox", "wide", "valid integer", "Mend"),
    "fraction for a count": (changed(run={"seed": 1.5}), "run.seed", 1.5, "valid integer", "Mend"),
    "below range": (changed(blocks={"write_vox": 8}), "blocks.write_vox", 8, "greater than or equal to 16", "Mend"),
    "above range": (changed(run={"seed": 2**31}), "run.seed", 2**31, "less than 2147483648", "Mend"),
    "not finite": (changed(run={"memory_gb": float("inf")}), "run.memory_gb", float("inf"), "finite number", "Mend"),
    "not a choice": (changed(fit={"mode": "fast"}), "fit.mode", "fast", "'distill' or 'sds'", "Mend"),
    "name with a slash": (changed(run={"name": "../x"}), "run.name", "../x", "form ^[A-Za-z0-9]", "letters and digits"),
    "nested out of range": (
        changed(source={"simulate": {"factor": 40}}),
        "source.simulate.factor",
        40,
        "less than or equal to 20",
        "Mend",
    ),
    "overlap beyond context": (
        changed(blocks={"context_vox": 4, "overlap_vox": 8}),
        "blocks",
        {"context_vox": 4, "overlap_vox": 8},
        "overlap_vox 8 exceeds context_vox 4",
        "Mend",
    ),
    "detail beyond all": (changed(fit={"detail": 1.5}), "fit.detail", 1.5, "less than or equal to 1", "Mend"),
    "key of an earlier version": (changed(fit={"sigmas": [80.0]}), "fit.sigmas", [80.0], "unknown key", "did you mean"),
    "precision unheard of": (changed(prior={"precision": "half"}), "prior.precision", "half", "'auto' or 'float32'", "Mend"),
    "more neighbours than there is use for": (
        changed(prior={"neighbours": 5}),
        "prior.neighbours",
        5,
        "less than or equal to 4",
        "Mend",
    ),
    "percentiles upside down": (
        changed(intensity={"low_percentile": 99.5}),
        "intensity",
        {"low_percentile": 99.5},
        "low_percentile 99.5 must be below high_percentile 99.0",
        "Mend",
    ),
    "ragged levels": (
        changed(field={"strides_vox": [2, 4, 8], "features": [4, 4]}),
        "field",
        {"strides_vox": [2, 4, 8], "features": [4, 4]},
        "strides_vox has 3 levels, features has 2; give one number each",
        "Mend",
    ),
}


@pytest.mark.parametrize("way", WRONG)
def test_what_is_wrong_is_named(way):
    values, thing, value, limit, remedy = WRONG[way]
    error = complaint(values)
    assert (error.thing, error.value) == (thing, value)
    assert limit in error.limit
    assert remedy in error.remedy
    assert re.search("(in|from|to) the configuration", error.remedy)


def test_an_operator_other_than_the_simulated_one_is_refused():
    error = complaint(changed(source={"simulate": {"factor": 8}}, measurement={"operator": "gaussian"}))
    assert (error.thing, error.value) == ("measurement.operator", "gaussian")
    assert error.limit == "contradicts source.simulate.operator 'section'"
    assert error.remedy == "Leave measurement.operator null"
    same = make_config(changed(source={"simulate": {"factor": 8}}, measurement={"operator": "section"}))
    assert same.operator == "section"


def test_a_profile_width_without_a_profile_is_refused():
    error = complaint(changed(measurement={"fwhm_nm": 40.0}))
    assert (error.thing, error.value) == ("measurement.fwhm_nm", 40.0)
    assert error.limit == "is given but the operator is 'section'"
    simulated = changed(source={"simulate": {"factor": 8, "operator": "gaussian"}}, measurement={"fwhm_nm": 40.0})
    assert make_config(simulated).operator == "gaussian"


def test_further_wrong_keys_are_counted_and_listed():
    error = complaint(changed(blocks={"write_vox": 1, "context_vox": -1}, fit={"steps": 0}))
    assert error.thing == "blocks.write_vox"
    assert "2 more: blocks.context_vox, fit.steps" in error.remedy


def test_a_config_cannot_be_changed_afterwards():
    config = make_config(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.run.seed = 3


# Overrides


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("blocks.write_vox=64", "blocks", "write_vox", 64),
        ("fit.mode=sds", "fit", "mode", "sds"),
        ("fit.sds_sigma_range=[0.1, 0.5]", "fit", "sds_sigma_range", (0.1, 0.5)),
        ("run.name=b=c", "run", "name", None),
        ("output.voxel_size_nm=null", "output", "voxel_size_nm", None),
        ("fit.learning_rate=1e-3", "fit", "learning_rate", 1e-3),
    ],
)
def test_overrides_replace_single_keys(override, section, key, value):
    if override.startswith("run.name"):
        with pytest.raises(InputError, match=r"run\.name: 'b=c'"):
            load_config(json.dumps(MINIMAL), [override])
        return
    config = load_config(json.dumps(MINIMAL), [override])
    assert getattr(getattr(config, section), key) == value
    others = set(SECTIONS) - {section}
    assert config.section_json(*others) == make_config(MINIMAL).section_json(*others)


def test_nested_overrides_make_what_they_need_and_the_last_one_wins():
    config = load_config(json.dumps(MINIMAL), ["source.simulate.factor=4", "source.simulate.factor=6"])
    assert config.source.simulate.factor == 6
    assert config.source.path == "phantom:tissue"
    config = load_config(json.dumps(MINIMAL), ["source.simulate={factor: 4, operator: skip}", "source.simulate.factor=5"])
    assert (config.source.simulate.factor, config.operator) == (5, "skip")


@pytest.mark.parametrize("override", ["blocks.write_vox", "=3", "blocks.=3", ".write_vox=3", "run.name=[", "run.name={a: *b}"])
def test_an_override_that_is_none_is_refused(override):
    with pytest.raises(InputError, match="--config") as caught:
        load_config(json.dumps(MINIMAL), [override])
    assert caught.value.value == override


def test_an_override_is_checked_like_the_file():
    with pytest.raises(InputError, match=r"blocks\.write_vx: 64: .* did you mean blocks\.write_vox"):
        load_config(json.dumps(MINIMAL), ["blocks.write_vx=64"])


# Files and text


def test_yaml_and_json_text_say_the_same(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("run:\n  name: a\nsource:\n  path: phantom:tissue\nblocks:\n  # write_vox: 64\n")
    assert load_config(file) == load_config(str(file)) == load_config(json.dumps(MINIMAL)) == make_config(MINIMAL)


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (b"", "holds no sections"),
        (b"- run\n- source\n", "holds no sections"),
        (b"run: {name: a\n", "is not valid YAML"),
        (b"run: \xff\xfe\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, content, limit):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_config(file)
    assert caught.value.value == str(file)
    assert limit in caught.value.limit


@pytest.mark.parametrize(("text", "limit"), [('{"run": ', "is not valid JSON"), ("nowhere.yaml", "is not a file")])
def test_a_text_that_is_no_configuration(text, limit):
    with pytest.raises(InputError) as caught:
        load_config(text)
    assert limit in caught.value.limit


HOSTILE = (
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{target}]]",
    "!!python/object/apply:os.system ['touch {target}']",
    "!!python/object/new:subprocess.check_output [[touch, {target}]]",
    "!!python/name:os.system",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_yaml_that_would_run_code_is_refused_and_runs_nothing(tmp_path, hostile):
    target, file = tmp_path / "touched", tmp_path / "hostile.yaml"
    value = hostile.format(target=target)
    file.write_text(f"run:\n  name: {value}\nsource:\n  path: x\n")
    with pytest.raises(InputError, match="could not determine a constructor"):
        load_config(file)
    with pytest.raises(InputError, match="--config"):
        load_config(json.dumps(MINIMAL), [f"run.name={value}"])
    assert not target.exists()


@pytest.mark.parametrize("file", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda f: f.stem)
def test_the_configurations_that_come_with_it_load(file):
    config = load_config(file)
    for stage, names in SECTIONS_READ.items():
        given = load_sections(config.section_json(*names), names)
        for name in names:
            assert attrgetter(name)(given) == attrgetter(name)(config), (stage, name)
