"""Bad sections in a whole run: found, listed, kept out of everything, bridged, labelled and reported."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import zarr
from tiny_run import TinyRun

from isofield.geometry import Roi
from isofield.omezarr.labels import BAD, EMPTY, INFERRED, MEASURED, location
from isofield.omezarr.reading import read_region
from isofield.phantom import tissue
from isofield.source import open_source
from isofield.stages.blocks_io import MeasuredBlocks

RATIO, N_SECTIONS, LOST = 4, 12, (5, 8)
TRUTH = tissue((RATIO * N_SECTIONS, 64, 64))
GOOD = np.rint(TRUTH.reshape(N_SECTIONS, RATIO, 64, 64).mean(axis=1)).astype(np.uint8)
SPOILT = GOOD.copy()
SPOILT[LOST[0]], SPOILT[LOST[1]] = 0, 255


def run_over(folder, grey, **sections) -> TinyRun:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "volume.h5", "w") as file:
        file["raw"] = grey
    source = {"path": str(folder / "volume.h5"), "dataset": "raw", "voxel_size_nm": [32, 8, 8], "simulate": None}
    return TinyRun.at(folder / "results", source=source, **sections)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory) -> TinyRun:
    return run_over(tmp_path_factory.mktemp("spoilt"), SPOILT).all_stages()


def rms(image, section) -> float:
    planes = slice(section * RATIO, (section + 1) * RATIO)
    return float(np.sqrt(np.square(image[planes].astype(float) - TRUTH[planes]).mean()))


def image_of(run) -> np.ndarray:
    return read_region(run.paths.isotropic, 0, Roi((0, 0, 0), TRUTH.shape))


def origin_of(run, level=0) -> np.ndarray:
    return zarr.open_array(f"{location(run.paths.isotropic)}/{level}", mode="r")[:]


def test_they_are_found_and_nothing_else_is(spoilt, tmp_path):
    assert [(bad.section, bad.kind) for bad in spoilt.plan.bad_sections] == [(s, "missing") for s in LOST]
    sound = run_over(tmp_path, GOOD)
    assert sound.stage("plan") == 0
    assert sound.plan.bad_sections == ()
    assert spoilt.plan.fingerprints["volume"] != sound.plan.fingerprints["volume"]
    # What is black and white is kept out of the grey values: they are those of the sound volume.
    assert spoilt.plan.intensity == pytest.approx(sound.plan.intensity, rel=0.1)
    believed = spoilt.changed(sections={"detect": False}, run={"results": str(tmp_path / "believed")})
    assert believed.stage("plan") == 0
    assert believed.plan.intensity["low"] == 0


def test_they_are_bridged(spoilt, tmp_path):
    image = image_of(spoilt)
    believing = spoilt.changed(sections={"detect": False}, run={"results": str(tmp_path)}).all_stages()
    for section in LOST:
        assert rms(image, section) < 40
        # Negative control: believed, they are reproduced.
        assert rms(image_of(believing), section) > 2 * rms(image, section)
    assert not (origin_of(believing) == BAD).any()


def test_what_is_in_them_changes_nothing(spoilt, tmp_path):
    """The same bytes with other contents of the bad sections, listed by hand: nothing has looked at them."""
    other = SPOILT.copy()
    other[LOST[0]], other[LOST[1]] = GOOD[0], np.arange(64, dtype=np.uint8)
    run = run_over(tmp_path, other, sections={"bad": LOST, "detect": False})
    run.paths.root.mkdir(parents=True)
    assert run.stage("plan") == 0
    assert run.plan.intensity == spoilt.plan.intensity
    assert run.stage("train") == 0
    assert run.stage("fit") == 0
    assert run.fields() == spoilt.fields()
    # Negative control: a section that is not listed counts.
    other[0] = GOOD[1]
    changed = run_over(tmp_path / "changed", other, sections={"bad": LOST, "detect": False})
    changed.paths.prior.parent.mkdir(parents=True)
    shutil.copy(run.paths.prior, changed.paths.prior)
    assert changed.stage("plan") == 0
    assert changed.stage("fit", 0) == 0
    assert changed.fields()[0] != spoilt.fields()[0]


def test_blocks_see_the_line_between_good_neighbours(spoilt):
    measured = MeasuredBlocks(open_source(spoilt.config.source), spoilt.plan)
    everything = Roi((0, 0, 0), (1, 64, 64))
    np.testing.assert_array_equal(measured.as_stored(range(N_SECTIONS), everything), SPOILT)
    seen = measured.grey(range(5, 9), everything)
    np.testing.assert_allclose(seen[0], (GOOD[4].astype(float) + GOOD[6]) / 2)
    np.testing.assert_allclose(seen[3], (GOOD[7].astype(float) + GOOD[9]) / 2)
    np.testing.assert_array_equal(seen[1:3], GOOD[6:8])
    block = measured.block(0, 0, 1, noisy=False)
    inside = spoilt.plan.model.whole_sections(spoilt.plan.axial, 0, spoilt.plan.block_grid[0].read_roi.end.z)
    assert block.weight.tolist() == [float(section not in LOST) for section in inside]


def test_they_are_counted_from_the_start_of_the_source(spoilt, tmp_path):
    part = spoilt.changed(run={"results": str(tmp_path)}, source={"roi_nm": [[96, 384], [0, 512], [0, 512]]})
    assert part.stage("plan") == 0
    assert [bad.section for bad in part.plan.bad_sections] == list(LOST)
    assert part.plan.bad == {2, 5}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"bad": [12]}, "sections.bad: 12 the volume has sections 0 to 11"),
        ({"good": [99]}, "sections.good: 99"),
        ({"bad": list(range(12))}, "none of 12 sections is good"),
    ],
)
def test_lists_that_make_no_sense_are_refused(tmp_path, capsys, sections, message):
    run = run_over(tmp_path, GOOD, sections=sections)
    assert run.stage("plan") == 2
    assert message.split()[0] in capsys.readouterr().err
    assert not run.paths.root.exists()


def test_what_is_named_good_is_believed(spoilt, tmp_path):
    run = spoilt.changed(run={"results": str(tmp_path)}, sections={"good": [LOST[0]], "bad": [1]})
    assert run.stage("plan") == 0
    assert [(bad.section, bad.kind) for bad in run.plan.bad_sections] == [(1, "listed"), (LOST[1], "missing")]


# --- labels ---


def test_labels_say_where_voxels_come_from(spoilt):
    labels = origin_of(spoilt)
    assert labels.shape == TRUTH.shape
    line = labels[:, 0, 0]
    assert (labels == line[:, None, None]).all()
    expected = np.full(len(line), INFERRED)
    expected[1::RATIO] = MEASURED
    for section in LOST:
        expected[section * RATIO : (section + 1) * RATIO] = BAD
    np.testing.assert_array_equal(line, expected)


def test_coarser_labels_are_the_worst_of_what_they_stand_for(spoilt):
    fine, coarse = origin_of(spoilt), origin_of(spoilt, 1)
    expected = fine.reshape(24, 2, 32, 2, 32, 2).max(axis=(1, 3, 5))
    np.testing.assert_array_equal(coarse, expected)
    assert (coarse != fine[1::2, 1::2, 1::2]).any()


def test_blocks_without_a_field_are_labelled(tmp_path):
    black = GOOD.copy()
    black[:, :, 16:] = 0
    run = run_over(tmp_path, black, blocks={"context_vox": 4}).all_stages()
    skipped = [block for block in run.plan.block_grid if run.states()[block.index] == "skipped"]
    assert skipped
    expected = np.zeros(TRUTH.shape, bool)
    for block in skipped:
        expected[block.write_roi.slices] = True
    np.testing.assert_array_equal(origin_of(run) == EMPTY, expected)


def test_labels_that_are_lost_are_written_again_and_nothing_else(spoilt, tmp_path):
    run = spoilt.copied_to(tmp_path)
    shard = run.paths.isotropic / "labels" / "origin" / "0" / "c" / "0" / "1" / "0"
    before, image = shard.read_bytes(), run.paths.isotropic / "0" / "c" / "0" / "1" / "0"
    written = image.stat().st_mtime_ns
    for spoil in (shard.unlink, lambda: shard.write_bytes(before[:-9]), lambda: shard.write_bytes(b"")):
        spoil()
        assert run.stage("blend") == 0
        assert shard.read_bytes() == before
        assert image.stat().st_mtime_ns == written


def test_a_finished_run_has_no_loose_records_of_shards(spoilt):
    plan = spoilt.plan
    assert {file.name for file in spoilt.paths.shards.iterdir()} == {f"job-{job}.json" for job in range(plan.n_blend_jobs)}
    n_files = sum(file.is_file() for file in spoilt.paths.root.rglob("*"))
    assert n_files <= plan.projected["n_files"]
