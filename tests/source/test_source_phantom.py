from __future__ import annotations

import numpy as np
import pytest

from isofield.errors import InputError
from isofield.phantom import tissue
from isofield.source import open_source, phantom
from isofield.source.probe import probe


def test_default_phantom(spec):
    info = probe(spec("phantom:tissue"))
    assert (info.format, info.shape, info.dtype) == ("phantom", (1, 160, 160, 160), "uint8")
    assert info.voxel_size_nm == (8, 8, 8)
    assert info.identity == probe(spec("phantom:tissue?shape=160,160,160&seed=0")).identity
    assert info.identity != probe(spec("phantom:tissue?seed=1")).identity


def test_the_phantom_is_that_of_the_package_and_made_once(spec):
    uri = "phantom:tissue?shape=16,20,24&seed=3"
    phantom._tissue.cache_clear()
    volume = open_source(spec(uri))
    assert phantom._tissue.cache_info().misses == 0
    np.testing.assert_array_equal(volume.data.compute(), tissue((16, 20, 24), 3)[None])
    volume.data[0, 3].compute()
    assert phantom._tissue.cache_info().misses == 1


@pytest.mark.parametrize(
    "uri",
    [
        "phantom:bone",
        "phantom:tissue?size=3",
        "phantom:tissue?shape=16,16",
        "phantom:tissue?shape=16,16,15",
        "phantom:tissue?seed=-1",
        "phantom:tissue?seed=",
        "phantom:tissue?shape=a,b,c",
    ],
)
def test_other_addresses_are_refused(spec, uri):
    with pytest.raises(InputError, match="phantom:tissue"):
        probe(spec(uri))


def test_the_smallest_side_is_the_phantoms_own_limit():
    tissue((phantom.MIN_SIDE,) * 3, 0)
    with pytest.raises(InputError):
        tissue((phantom.MIN_SIDE - 1, 16, 16), 0)
