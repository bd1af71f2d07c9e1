from __future__ import annotations

import pytest

from isofield.errors import InputError
from isofield.source.paths import expand, reader_for


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ISO_A", "one")
    monkeypatch.setenv("ISO_EMPTY", "")
    monkeypatch.delenv("ISO_UNSET", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain/path.tif", "plain/path.tif"),
        ("$ISO_A/x", "one/x"),
        ("${ISO_A}x", "onex"),
        ("${ISO_A:-two}/x", "one/x"),
        ("${ISO_UNSET:-two}/x", "two/x"),
        ("${ISO_EMPTY:-two}/x", "two/x"),
        ("${ISO_UNSET:-}x", "x"),
        ("${ISO_UNSET:-../$ISO_A}/x", "../one/x"),
        ("$ISO_A$ISO_A", "oneone"),
    ],
)
def test_variables_are_expanded_as_a_shell_does(text, expanded):
    assert expand(text) == expanded


@pytest.mark.parametrize("text", ["$ISO_UNSET/x", "${ISO_UNSET}/x", "${ISO_EMPTY}/x"])
def test_a_variable_without_value_is_refused_by_name(text):
    with pytest.raises(InputError, match="variable ISO_"):
        expand(text)


def test_the_home_folder_is_expanded(tmp_path):
    assert expand("~/x") == f"{tmp_path}/x"


@pytest.mark.parametrize(
    "uri", ["ftp://host/volume.zarr", "s3://bucket", "s3://bucket/volume.mrc", "https://host/volume.czi", "not/there.tif"]
)
def test_what_cannot_be_reached_is_refused(uri):
    with pytest.raises(InputError, match=r"source\.path"):
        reader_for(uri)


def test_formats_are_known_by_content_not_by_name(tmp_path):
    (tmp_path / "text.tif").write_text("no TIFF at all")
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name in ("text.tif", "empty.h5", "folder"):
        with pytest.raises(InputError, match="OME-Zarr"):
            reader_for(str(tmp_path / name))


def test_a_damaged_file_is_refused_as_such(tmp_path, spec):
    from isofield.source.probe import probe

    (tmp_path / "a.tif").write_bytes(b"II*\0" + b"\xff" * 4)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match="damaged TIFF"):
        probe(spec(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="cannot be opened"):
        probe(spec(tmp_path / "a.h5"))
