"""An image that is read many times: opened once, and asked for no more than once over the network."""

from __future__ import annotations

import numpy as np
import pytest

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.reading import ImageReader, read_region
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import shard_rois, write_shard

SHAPE = (20, 33, 16)
WHOLE = Roi((0, 0, 0), SHAPE)
TRUTH = np.random.default_rng(0).integers(1, 4000, SHAPE).astype("uint16")
SPECS = [OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=16, ome_zarr=version) for version in ("0.5", "0.4")]


def written(where, spec, but=()) -> None:
    create_canvas(where, SHAPE, "uint16", spec, voxel_size_nm=(4, 4, 4))
    for number, roi in enumerate(shard_rois(SHAPE, 16)):
        if number not in but:
            write_shard(where, 0, roi, TRUTH[roi.slices])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.ome_zarr)
def test_any_region_is_read_as_often_as_one_likes(tmp_path, spec):
    written(tmp_path / "a.ome.zarr", spec)
    image, rng = ImageReader(tmp_path / "a.ome.zarr"), np.random.default_rng(1)
    for _ in range(60):
        begin = [int(rng.integers(n)) for n in SHAPE]
        roi = Roi.between(begin, [int(rng.integers(b, n)) + 1 for b, n in zip(begin, SHAPE, strict=True)])
        np.testing.assert_array_equal(image.region(roi), TRUTH[roi.slices])
        assert image.is_written(roi)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.ome_zarr)
def test_over_the_network_nothing_is_asked_for_twice(store, request, spec):
    key = f"{request.node.name}/a.ome.zarr"
    written(store.uri(key), spec)
    image = ImageReader(store.uri(key))
    np.testing.assert_array_equal(image.region(WHOLE), TRUTH)
    for name in store.files(key):
        store.remove(f"{key}/{name}")
    np.testing.assert_array_equal(image.region(WHOLE), TRUTH)
    # Negative control: whoever opens it now finds nothing.
    with pytest.raises(InputError, match="does not exist"):
        read_region(store.uri(key), 0, WHOLE)


def test_what_is_not_there_yet_is_asked_for_again(store, request):
    uri = store.uri(f"{request.node.name}/a.ome.zarr")
    written(uri, SPECS[0], but=(1,))
    image, lacking = ImageReader(uri), shard_rois(SHAPE, 16)[1]
    assert not image.is_written(lacking)
    with pytest.raises(InputError, match="has not been written"):
        image.region(lacking)
    assert not image.region(lacking, fill_missing=True).any()
    write_shard(uri, 0, lacking, TRUTH[lacking.slices])
    np.testing.assert_array_equal(image.region(lacking), TRUTH[lacking.slices])
