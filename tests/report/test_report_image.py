"""Viewing a run whose image lies outside its folder."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from isofield.records import write_json
from isofield.report.neuroglancer import BASE, viewer_state
from isofield.report.server import serve


@pytest.fixture
def folders(tmp_path):
    run, image = tmp_path / "run", tmp_path / "fast" / "a.ome.zarr"
    write_json(image / "zarr.json", {"far": 1})
    (image.parent / "private.txt").write_text("private")
    run.mkdir()
    return run, image


def test_it_is_served_where_the_viewer_looks_for_it_and_nothing_beside_it(folders):
    run, image = folders
    with serve(run, image=image) as server:
        with urllib.request.urlopen(f"{server.address}/isotropic.ome.zarr/zarr.json") as answer:
            assert answer.read() == (image / "zarr.json").read_bytes()
        for path in ("isotropic.ome.zarr/../private.txt", "isotropic.ome.zarr/%2e%2e/private.txt", "private.txt"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{server.address}/{path}")
    with serve(run) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.address}/isotropic.ome.zarr/zarr.json")


def test_view_names_the_address_of_an_image_on_the_network(folders):
    run, _ = folders
    uri = "s3://bucket/a.ome.zarr"
    write_json(run / "neuroglancer.json", viewer_state(f"{BASE}/measured.ome.zarr", uri, 8, (48, 64, 64)))
    write_json(run / "jobs" / "canvas.json", {"image": uri})
    process = subprocess.Popen([sys.executable, "-m", "isofield.cli", "view", str(run)], stdout=subprocess.PIPE, text=True)
    try:
        said = "".join(iter(process.stdout.readline, "Serving on this machine only. Ctrl-C stops.\n"))
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert f"Isotropic image {uri}" in said
    assert "CORS" in said
    assert "s3://bucket/a.ome.zarr/%7Czarr3" in said or "s3://bucket/a.ome.zarr/|zarr3" in said
