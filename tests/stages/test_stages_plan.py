"""The plan: refuses what does not fit, is rewritten only when it says something else, and knows what is empty."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from tiny_run import TinyRun, times

from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.stages import sampling

EDGE = 48
"""First black column of the half-empty volume."""


@pytest.mark.parametrize(
    ("memory_gb", "sections", "key"),
    [
        (0.5, {}, "blocks.write_vox: 32"),
        # Small blocks and a large shard: now it is the shard that does not fit.
        (
            0.949,
            {"blocks": {"write_vox": 16, "context_vox": 0, "overlap_vox": 0}, "output": {"chunk_vox": 16, "shard_vox": 64}},
            "output.shard_vox: 64",
        ),
    ],
)
def test_what_does_not_fit_in_memory_is_refused(tmp_path, capsys, memory_gb, sections, key):
    run = TinyRun.at(tmp_path, **sections)
    assert run.changed(run={"memory_gb": memory_gb}).stage("plan") == 2
    message = capsys.readouterr().err
    assert key in message
    assert "run.memory_gb" in message
    assert not run.paths.root.exists()
    # Negative control: with a little more it is planned.
    assert run.changed(run={"memory_gb": 2.0}).stage("plan") == 0


def test_a_plan_is_written_only_when_it_says_something_else(run):
    assert run.stage("plan") == 0  # the copy lies elsewhere, and the plan says where it was planned for
    before = run.paths.plan.stat().st_mtime_ns, run.paths.blocks.stat().st_mtime_ns
    assert run.stage("plan") == 0
    assert (run.paths.plan.stat().st_mtime_ns, run.paths.blocks.stat().st_mtime_ns) == before
    # How pieces are trained and fitted is none of the plan's business.
    other = run.changed(prior={"steps": 11}, fit={"steps": 9}, quality={"seam_reach_vox": 9}, report={"n_slices": 2})
    assert other.stage("plan") == 0
    assert run.paths.plan.stat().st_mtime_ns == before[0]
    assert run.changed(intensity={"low_percentile": 2.0}).stage("plan") == 0
    assert run.paths.plan.stat().st_mtime_ns > before[0]


def test_the_table_of_blocks_is_the_grid(finished):
    table, plan = pd.read_parquet(finished.paths.blocks), finished.plan
    assert len(table) == plan.n_blocks == 8
    for block, row in zip(plan.block_grid, table.to_dict("records"), strict=True):
        for name, roi in (("write", block.write_roi), ("read", block.read_roi)):
            assert [row[f"{name}_offset_{a}"] for a in "zyx"] == list(roi.offset)
            assert [row[f"{name}_shape_{a}"] for a in "zyx"] == list(roi.shape)
    assert table.groupby("job").size().tolist() == [4, 4]


def test_the_plan_remembers_how_far_fields_reach(finished, tmp_path):
    assert finished.plan.block_grid.margin == (8, 4, 4)
    assert finished.plan.block_grid.context == (8, 8, 8)
    narrower = TinyRun.at(tmp_path, blocks={"overlap_vox": 2})
    assert narrower.stage("plan") == 0
    assert narrower.plan.block_grid.margin == (8, 2, 2)
    # Fields that reach less far are other fields, of the same volume; and they take less room.
    assert narrower.plan.fingerprints["geometry"] != finished.plan.fingerprints["geometry"]
    assert narrower.plan.fingerprints["volume"] == finished.plan.fingerprints["volume"]
    assert narrower.plan.projected["fields_bytes"] < finished.plan.projected["fields_bytes"]


def test_fields_with_texture_or_of_thin_sections_take_more_room(tmp_path):
    """Where the spacing of the grids is left open it follows from fit.detail and from the thickness of a section."""
    bytes_of = {}
    for detail, factor in ((0.0, 8), (0.5, 8), (0.0, 4)):
        run = TinyRun.at(
            tmp_path / f"{detail}-{factor}",
            source={"path": "phantom:tissue?shape=48,96,96", "simulate": {"factor": factor}},
            field={"strides_vox": None, "features": None},
            fit={"detail": detail},
        )
        assert run.stage("plan") == 0
        bytes_of[detail, factor] = run.plan.projected["fields_bytes"]
    assert bytes_of[0.5, 8] > 1.5 * bytes_of[0.0, 8]
    assert bytes_of[0.0, 4] == bytes_of[0.5, 8]


# --- a volume whose right part is black ---


@pytest.fixture(scope="module")
def half_black(tmp_path_factory) -> TinyRun:
    """Measured sections (12, 64, 128) of 32 x 8 x 8 nm, black from column EDGE on; all stages have run."""
    folder = tmp_path_factory.mktemp("half")
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 64, 128)), (0.5, 1.5, 1.5))
    grey = np.clip(128 + 40 * noise / noise.std(), 20, 255).astype(np.uint8)
    grey[:, :, EDGE:] = 0
    with h5py.File(folder / "half.h5", "w") as file:
        file["raw"] = grey
    source = {
        "path": str(folder / "half.h5"),
        "dataset": "raw",
        "voxel_size_nm": [32, 8, 8],
        "simulate": None,
    }
    return TinyRun.at(folder / "results", source=source).all_stages()


def test_blocks_without_contrast_are_skipped(half_black):
    table, plan = pd.read_parquet(half_black.paths.blocks), half_black.plan
    expected = {block.index for block in plan.block_grid if block.read_roi.offset.x >= EDGE}
    assert set(table.loc[table["empty"], "block_id"]) == expected
    assert len(expected) == plan.n_empty_blocks == 8
    states = half_black.states()
    assert {i for i, state in states.items() if state == "skipped"} == expected
    assert {state for i, state in states.items() if i not in expected} == {"done"}
    # Blocks are shared out whatever is in them: which job has which is known before anybody looks.
    assert table.groupby("job").size().nunique() == 1


def test_what_is_black_stays_black(half_black):
    image = read_region(half_black.paths.isotropic, 0, Roi((0, 0, 0), (48, 64, 128)))
    assert not image[:, :, 64 + 4 :].any()
    assert image[:, :, : EDGE - 8].std() > 10


def test_without_truth_there_are_metrics_all_the_same(half_black):
    metrics = half_black.metrics()
    assert not {"isotropic", "cubic"} & metrics.keys()
    assert metrics["n_blocks"] == {"done": 8, "skipped": 8}
    assert 0 < metrics["residual_rms"] < 0.2
    page = half_black.paths.report.read_text(encoding="utf-8")
    assert "8 blocks without contrast" in page


def test_blocks_that_plan_did_not_look_at_are_found_empty_when_they_are_fitted(half_black, tmp_path, monkeypatch):
    """As in a volume too large to be looked at: every block is the same as with the looking."""
    monkeypatch.setattr(sampling, "LOOK_VOX", 0)
    run = half_black.changed(run={"results": str(tmp_path)})
    run.paths.prior.parent.mkdir(parents=True)
    run.paths.prior.write_bytes(half_black.paths.prior.read_bytes())
    assert run.stage("plan") == 0
    assert run.plan.n_empty_blocks == 0
    assert run.stage("fit") == 0
    assert run.states() == half_black.states()
    assert run.fields() == half_black.fields()


def test_fitting_again_keeps_skipped_blocks(half_black):
    before = times(half_black.store.folder)
    assert half_black.stage("fit") == 0
    assert times(half_black.store.folder) == before


def test_a_block_that_is_no_longer_empty_is_fitted(finished, tmp_path):
    run = TinyRun.at(tmp_path, fit={"steps": 2, "blocks_per_job": 8})
    run.paths.prior.parent.mkdir(parents=True)
    run.paths.prior.write_bytes(finished.paths.prior.read_bytes())
    strict = run.changed(blocks={"empty_below": 254.5})
    for one, state in ((strict, "skipped"), (run, "done"), (strict, "skipped")):
        assert one.stage("plan") == 0
        assert one.stage("fit") == 0
        assert set(one.states().values()) == {state}
