"""What of a configuration no benchmark follows is refused, whichever it is."""

from __future__ import annotations

import pytest

from isofield.cli import main

KINDS = {
    "quality": ("--volume", "nowhere.tif"),
    "sections": ("--volume", "nowhere.tif"),
    "speed": ("--block-vox", "32"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("key", "value"), [("output.path", "elsewhere.ome.zarr"), ("output.region_vox", "[[0, 128], [0, 128], [0, 128]]")]
)
def test_a_benchmark_makes_whole_images_in_its_own_folder(tmp_path, capsys, kind, key, value):
    out = tmp_path / "out"
    assert main(["benchmark", kind, *KINDS[kind], "--out", str(out), "--config", f"{key}={value}"]) == 2
    assert f"{key}: " in (said := capsys.readouterr().err)
    assert "Leave the key out" in said
    assert not out.exists()


@pytest.mark.parametrize("kind", ["quality", "sections"])
def test_how_the_image_is_stored_may_be_said(tmp_path, capsys, kind):
    """Refused is the volume, which is not there."""
    given = ("--out", str(tmp_path / "out"), "--config", "output.shard_vox=128")
    assert main(["benchmark", kind, *KINDS[kind], *given]) == 2
    assert "output." not in (said := capsys.readouterr().err)
    assert "nowhere.tif" in said
