"""One tiny run for all tests of the stages; whoever changes its files takes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from channel_runs import NAMES, finish, several
from region_run import part, through
from scipy.ndimage import gaussian_filter
from tiny_run import TinyRun


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> TinyRun:
    """A run whose every stage has run once. Look, do not touch."""
    return TinyRun.at(tmp_path_factory.mktemp("results")).all_stages()


@pytest.fixture
def run(finished, tmp_path) -> TinyRun:
    """A copy of the finished run, to be changed at will."""
    return finished.copied_to(tmp_path / "copy")


@pytest.fixture(scope="session")
def whole(finished, tmp_path_factory) -> TinyRun:
    """The image that others fill in parts, as one run makes it. Look, do not touch."""
    return through(part(tmp_path_factory.mktemp("whole"), "whole", None, finished.paths.prior))


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Path:
    """An OME-TIFF of two channels that have nothing in common, 12 sections of 32 nm with pixels of 8 nm."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(2, 12, 64, 64)), (0, 1, 3, 3))
    grey = (smooth / np.abs(smooth).max() * [[[[90]]], [[[120]]]] + 128).astype(np.uint8)
    path = tmp_path_factory.mktemp("stack") / "two.ome.tif"
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (32, 8, 8), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(path, grey, metadata={"axes": "CZYX", **sizes, **units, "Channel": {"Name": list(NAMES)}})
    return path


@pytest.fixture(scope="session")
def two(tmp_path_factory, stack) -> TinyRun:
    """A finished run of both channels. Look, do not touch."""
    return finish(several(tmp_path_factory.mktemp("two"), stack))


@pytest.fixture
def copied(two, tmp_path) -> TinyRun:
    copy = two.changed(run={"results": str(tmp_path / "copy")})
    shutil.copytree(two.paths.root, copy.paths.root)
    return copy
