from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.source.region import measured_roi
from isofield.source.volume import VolumeInfo

INFO = VolumeInfo("x", "tiff", None, (1, 20, 1024, 512), "uint8", (Fraction(50), Fraction(23, 5), Fraction(23, 5)), {})


def test_none_is_the_whole_volume():
    assert measured_roi(INFO, None) == Roi(ZYX(0, 0, 0), ZYX(20, 1024, 512))


def test_the_region_is_widened_to_whole_voxels():
    roi = measured_roi(INFO, ((50, 100), (4.5, 9.3), (0, 4.6)))
    assert roi == Roi.between((1, 0, 0), (2, 3, 1))


def test_edges_on_voxel_edges_are_not_widened():
    """43 x 4.6 is 197.8 exactly; divided as binary floats, such edges can land beside a whole number."""
    assert measured_roi(INFO, ((0, 1000), (197.8, 3 * 197.8), (0, 2355.2))) == Roi.between((0, 43, 0), (20, 129, 512))


@given(st.data())
def test_every_region_inside_contains_its_nm_and_no_voxel_more(data):
    roi_nm = []
    for extent in INFO.extent_nm:
        begin = data.draw(st.integers(0, int(extent) - 1))
        roi_nm.append((begin, data.draw(st.integers(begin + 1, int(extent)))))
    roi = measured_roi(INFO, roi_nm)
    assert Roi(ZYX(0, 0, 0), INFO.shape_zyx).contains(roi)
    for (lo, hi), begin, end, size in zip(roi_nm, roi.offset, roi.end, INFO.voxel_size_nm, strict=True):
        assert lo - size < begin * size <= lo
        assert hi <= end * size < hi + size


def test_a_rounded_extent_counts_as_the_end():
    assert measured_roi(INFO, ((0, 1000), (0, 4711), (0, 2356))).end == ZYX(20, 1024, 512)


@pytest.mark.parametrize(
    "roi_nm",
    [
        ((1000, 1040), (0, 100), (0, 100)),  # starts where the volume ends
        ((0, 1051), (0, 100), (0, 100)),
        ((0, 100), (0, 100), (0, 2361)),
        ((-1, 100), (0, 100), (0, 100)),
        ((100, 100), (0, 100), (0, 100)),
    ],
)
def test_regions_outside_are_refused_with_the_extent(roi_nm):
    with pytest.raises(InputError, match=r"source\.roi_nm.*z 0 to 1000, y 0 to 4710\.4, x 0 to 2355\.2 nm"):
        measured_roi(INFO, roi_nm)
