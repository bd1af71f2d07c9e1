"""Preview: a few blocks of a planned run, with its own prior, each with a report; the cost of all at the speed of these."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.stages.previewing import chosen


@pytest.fixture(scope="module")
def previewed(finished, tmp_path_factory):
    run = finished.copied_to(tmp_path_factory.mktemp("previewed"))
    assert run.changed(report={"n_preview_blocks": 2}).stage("preview") == 0
    return run


def test_a_preview_has_a_report_per_block_and_the_cost_of_all(previewed):
    numbers = json.loads(previewed.paths.preview_numbers.read_bytes())
    assert len(numbers["blocks"]) == 2
    page = previewed.paths.preview.read_text(encoding="utf-8")
    for row in numbers["blocks"]:
        assert (previewed.paths.preview.parent / row["page"]).stat().st_size > 10_000
        assert f'href="{row["page"]}"' in page
        assert 10 < row["psnr_db"] < 60
        assert row["seconds"]["fit"] > 0
    assert numbers["cost"]["n_blocks"] == previewed.plan.n_blocks
    assert "measured by the preview over 2 blocks" in page
    # At their speed: as many voxels per second as they had.
    made = sum(
        np.prod(json.loads((previewed.paths.preview.parent / f"block-{r['block']}" / "plan.json").read_bytes())["shape"])
        for r in numbers["blocks"]
    )
    assert numbers["cost"]["speed"]["fit_vox_per_s"] == pytest.approx(made / sum(r["seconds"]["fit"] for r in numbers["blocks"]))


def test_a_previewed_block_is_nearly_what_the_run_makes_of_it(previewed, finished):
    """The same prior and grey values, but nothing known of what lies around the block."""
    for row in json.loads(previewed.paths.preview_numbers.read_bytes())["blocks"]:
        owned = finished.plan.block_grid[row["block"]].write_roi
        whole = read_region(finished.paths.isotropic, 0, owned).astype(float)
        folder = previewed.paths.preview.parent / f"block-{row['block']}"
        alone = read_region(folder / "isotropic.ome.zarr", 0, Roi((0, 0, 0), owned.shape)).astype(float)
        assert np.abs(alone - whole).mean() < 0.1 * whole.std()
        inner = (slice(8, -8),) * 3
        assert np.abs(alone - whole)[inner].mean() < np.abs(alone - whole).mean()


def test_a_preview_touches_nothing_of_the_run(previewed, finished):
    for name in ("plan.json", "metrics.json", "prior/prior.safetensors"):
        assert (previewed.paths.root / name).read_bytes() == (finished.paths.root / name).read_bytes()
    assert previewed.shards() == finished.shards()


def test_blocks_are_spread_over_those_that_are_not_empty(finished):
    table = pd.DataFrame({"block_id": range(1000), "empty": [i % 2 == 0 for i in range(1000)]})
    found = chosen(finished.plan, table, 5)
    assert len(found) == 5
    assert all(i % 2 for i in found)
    assert np.diff([0, *found, 1000]).max() < 400
    few = chosen(finished.plan, table.iloc[:4], 100)
    assert few == [1, 3]
