"""The output section of the configuration."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from isofield.omezarr.spec import OutputSpec


def test_every_field_says_what_it_is():
    assert all(field.description for field in OutputSpec.model_fields.values())


def test_a_shard_must_be_whole_chunks_and_the_message_names_one_that_is():
    with pytest.raises(ValidationError, match=r"shard_vox 200 is not a multiple of chunk_vox 64.*192"):
        OutputSpec(shard_vox=200)
    assert OutputSpec(shard_vox=192).shard_vox == 192


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_vox": 0},
        {"shard_vox": 32},
        {"compression_level": 0},
        {"pyramid_min_vox": 0},
        {"voxel_size_nm": -4},
    ],
)
def test_senseless_values_are_refused_by_name(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        OutputSpec(**change)


def test_parsing_the_configuration_loads_nothing_heavy():
    script = f"import sys; sys.path[:] = {sys.path!r}; import isofield.omezarr.spec; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split())
    assert "isofield.omezarr.spec" in loaded
    assert not loaded & {"torch", "dask", "zarr", "pandas", "numpy"}
