"""What a stage sees of the configuration: its sections, and a mark that changes with them alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isofield.config import SECTIONS, Config, Sections, load_sections, make_config
from isofield.errors import InputError
from isofield.stages import SECTIONS_READ
from test_config import MINIMAL, changed


def test_a_section_that_was_not_declared_cannot_be_read():
    given = load_sections(json.dumps(MINIMAL), ("run", "fit.steps"))
    assert given.run.name == "a"
    assert given.fit.n_steps == 12
    assert "fit" in given
    assert "blocks" not in given
    with pytest.raises(AttributeError, match=r"not given the section 'blocks', only \['fit', 'run'\]"):
        _ = given.blocks
    with pytest.raises(AttributeError):
        _ = Sections({}, ()).run


def test_sections_cut_down_to_keys_are_read_back():
    config = make_config(changed(fit={"blocks_per_job": 7, "steps": 30}))
    text = config.section_json("run", "fit.blocks_per_job")
    assert json.loads(text)["fit"] == {"blocks_per_job": 7}
    assert load_sections(text, ("run", "fit.blocks_per_job")).fit.blocks_per_job == 7


@pytest.mark.parametrize("stage", ["plan", "fit"])
def test_a_stage_checks_a_complete_file_as_a_whole(stage):
    """Sections that are each fine alone must not contradict each other, and unknown ones must not pass unseen."""
    whole = {name: {} for name in SECTIONS} | changed(source={"simulate": {"factor": 8}})
    assert load_sections(json.dumps(whole), SECTIONS_READ[stage]).run.name == "a"
    for wrong, thing in (
        ({"measurement": {"operator": "skip"}}, r"measurement\.operator"),
        ({"blokcs": {}}, "blokcs"),
        ({"field": {"hiden": 3}}, r"field\.hiden"),
    ):
        with pytest.raises(InputError, match=f"^{thing}: "):
            load_sections(json.dumps({**whole, **wrong}), SECTIONS_READ[stage])


OTHER_VALUES = {
    "run": {"seed": 5},
    "source": {"channel": 1},
    "measurement": {"operator": "skip"},
    "sections": {"bad": [3]},
    "intensity": {"low_percentile": 2.0},
    "blocks": {"write_vox": 96},
    "prior": {"steps": 10},
    "field": {"hidden": 8},
    "fit": {"steps": 10},
    "output": {"chunk_vox": 32},
    "quality": {"n_spectrum_cubes": 3},
    "report": {"n_slices": 2},
    "verify": {"recompute_blocks": 7},
}


@settings(max_examples=80)
@given(st.sampled_from(sorted(SECTIONS)), st.sets(st.sampled_from(sorted(SECTIONS)), min_size=1))
def test_section_json_changes_with_its_own_sections_and_with_no_other(touched, names):
    before, after = make_config(MINIMAL), make_config(changed(**{touched: OTHER_VALUES[touched]}))
    assert (before.section_json(*names) != after.section_json(*names)) == (touched in names)


def test_section_json_of_one_key_ignores_its_neighbours():
    before, after = make_config(MINIMAL), make_config(changed(fit={"steps": 10}))
    assert before.section_json("run", "fit.blocks_per_job") == after.section_json("run", "fit.blocks_per_job")
    assert before.section_json("fit.steps") != after.section_json("fit.steps")


def test_section_json_does_not_depend_on_the_order_of_names():
    config = make_config(MINIMAL)
    assert config.section_json("run", "fit", "blocks") == config.section_json("blocks", "run", "fit")
    assert Config.model_validate(json.loads(config.section_json(*SECTIONS))) == config
