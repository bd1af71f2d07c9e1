"""Looking at a volume without reading it whole: where samples come from, and that they are what lies there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_run import TinyRun

from isofield.config import load_sections
from isofield.geometry import Roi
from isofield.source.occupancy import Occupancy
from isofield.stages import SECTIONS_READ, training
from isofield.stages.sampling import sample_crops

SHAPE = (40, 300, 200)


class Numbered:
    """A volume whose every voxel says where it lies; it remembers what was read."""

    def __init__(self, shape=SHAPE):
        self.info = SimpleNamespace(shape_zyx=shape)
        self.occupied = None
        self.reads: list[Roi] = []

    def read(self, roi):
        self.reads.append(roi)
        assert Roi((0, 0, 0), self.info.shape_zyx).contains(roi)
        return place(*np.meshgrid(*(range(b, e) for b, e in zip(roi.offset, roi.end, strict=True)), indexing="ij"))[None]


def place(z, y, x):
    return (z * 1000 + y) * 1000 + x


def sections_of(crop):
    """Numbers of a crop's sections."""
    return (crop[:, 0, 0] // 10**6).tolist()


@pytest.mark.parametrize("n_sections", [1, 5, 9])
def test_large_volumes_are_sampled_in_slabs_of_consecutive_sections(n_sections):
    volume = Numbered()
    crops = sample_crops(volume, n_vox=SHAPE[0] * 300 * 200 // 3, seed=0, crop_vox=64, n_sections=n_sections)
    assert len(crops) > 20
    for crop in crops:
        assert crop.shape == (n_sections, 64, 64)
        assert np.diff(sections_of(crop)).tolist() == [1] * (n_sections - 1)
        # Every section of a slab is cut out at the same place.
        np.testing.assert_array_equal(crop - crop[:1], np.broadcast_to(10**6 * np.arange(n_sections)[:, None, None], crop.shape))
    # No more is read than is asked for, and nothing twice.
    assert sum(roi.volume for roi in volume.reads) == sum(crop.size for crop in crops) <= SHAPE[0] * 300 * 200 // 3
    assert len(volume.reads) == len(crops)


def test_slabs_spread_over_the_whole_depth_from_the_first_few_on():
    crops = sample_crops(Numbered(), n_vox=40 * 300 * 200 // 2, seed=0, crop_vox=50, n_sections=5)
    starts = [sections_of(crop)[0] for crop in crops]
    assert set(starts) == set(range(36)), "every slab there is, the first and the last included"
    thirds = {start // 12 for start in starts[:3]}
    assert thirds == {0, 1, 2}
    corners = np.array([[crop[0, 0, 0] // 1000 % 1000, crop[0, 0, 0] % 1000] for crop in crops])
    assert corners.min(axis=0).max() < 10
    assert corners.max(axis=0).tolist() > [235, 140]


def test_a_volume_thinner_than_a_slab_gives_all_its_sections():
    crops = sample_crops(Numbered((3, 300, 200)), n_vox=20_000, seed=0, crop_vox=40, n_sections=5)
    assert len(crops) == 4
    assert all(sections_of(crop) == [0, 1, 2] for crop in crops)


def test_a_crop_is_never_wider_than_the_volume():
    (crop,) = sample_crops(Numbered((40, 30, 200)), n_vox=2 * 30 * 64, seed=0, crop_vox=64, n_sections=2)
    assert crop.shape == (2, 30, 64)


def test_a_small_volume_is_read_whole_as_one_stack():
    for n_sections in (1, 5):
        volume = Numbered((6, 20, 30))
        (crop,) = sample_crops(volume, n_vox=6 * 20 * 30, seed=0, n_sections=n_sections)
        assert crop.shape == (6, 20, 30)
        np.testing.assert_array_equal(crop, Numbered((6, 20, 30)).read(Roi((0, 0, 0), (6, 20, 30)))[0])
        assert len(volume.reads) == 1
    # One voxel less, and it is sampled.
    assert sample_crops(Numbered((6, 20, 30)), n_vox=6 * 20 * 30 - 1, seed=0)[0].shape == (1, 20, 30)


def test_where_most_of_a_volume_was_never_written_samples_come_from_what_was():
    volume = Numbered()
    there = np.zeros((4, 3, 2), bool)
    there[1, 2, 0] = there[3, 0, 1] = True
    volume.occupied = Occupancy((10, 100, 100), there, 0.0)
    sample_crops(volume, n_vox=200_000, seed=0, crop_vox=64, n_sections=5)
    assert len(volume.reads) > 8
    chunks = {tuple(o // side for o, side in zip(roi.offset, (10, 100, 100), strict=True)) for roi in volume.reads}
    assert chunks == {(1, 2, 0), (3, 0, 1)}
    for roi in volume.reads:
        chunk = Roi(tuple(o // s * s for o, s in zip(roi.offset, (10, 100, 100), strict=True)), (10, 100, 100))
        assert chunk.contains(roi), "a crop that fits into the chunk lies in it"


def test_samples_depend_on_the_seed():
    def sample(seed):
        return np.stack(sample_crops(Numbered(), 200_000, seed, crop_vox=64, n_sections=3))

    np.testing.assert_array_equal(sample(1), sample(1))
    assert not np.array_equal(sample(1), sample(2))


# --- what the prior is trained on ---


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_the_prior_learns_from_slabs_that_hold_the_neighbours_it_looks_at(finished, monkeypatch, tmp_path, neighbours):
    """Sections of 64 x 64 voxels, 12 of them: 36 kB of memory hold fewer than all."""
    asked = []

    def remembered(volume, n_vox, seed, **kwargs):
        asked.append((n_vox, kwargs))
        return sample_crops(volume, n_vox, seed, **kwargs)

    monkeypatch.setattr(training, "sample_crops", remembered)
    run = TinyRun.at(tmp_path, prior={"neighbours": neighbours, "pool_bytes": 4 * 9 * 64 * 64})
    config = load_sections(run.config.section_json(*SECTIONS_READ["train"]), SECTIONS_READ["train"])
    sampler, _ = training.make_sampler(config, finished.plan)
    assert asked == [(9 * 64 * 64, {"n_sections": 1 + 4 * neighbours, "bad": frozenset()})]
    assert {len(stack) for stack in sampler.pool} == {1 + 4 * neighbours}
    assert sum(stack.nbytes for stack in sampler.pool) <= 4 * 9 * 64 * 64
    batch = sampler.batch(0, 2)
    assert batch.condition.shape[1] == 3 + 2 * neighbours
    assert batch.clean.dtype == np.float32
