"""One tiny run for all tests of the stages; whoever changes its files takes a copy."""

from __future__ import annotations

import pytest
from region_run import part, through
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
