"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from gs_server import GsServer, running_gs
from s3_server import S3Server, running_s3
from warm import warm

# Whoever shares the machine makes an example slow, and no test of ours is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several processes take the long files first, so that none is left with one when the others are done."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture
def one_thread():
    """torch with one thread, and back: the number of threads is part of what makes results reproducible."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with an `isofield` and a `snakemake` that start at once."""
    with warm(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@pytest.fixture(scope="session")
def s3_server():
    """A running S3 server with an empty bucket, for all tests of a session."""
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch) -> S3Server:
    """The server, and an environment in which this process is its client."""
    from isofield.storage import remote

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    remote._has_s3_credentials.cache_clear()
    return s3_server


@pytest.fixture(scope="session")
def gs_server():
    """A running server of Google Cloud Storage with an empty bucket, for all tests of a session."""
    with running_gs() as server:
        yield server


@pytest.fixture
def gs(gs_server, monkeypatch) -> GsServer:
    """The same for Google Cloud Storage."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for name, value in gs_server.environment.items():
        monkeypatch.setenv(name, value)
    return gs_server


@pytest.fixture(params=["s3", "gs"])
def store(request) -> S3Server | GsServer:
    """Either of the two."""
    return request.getfixturevalue(request.param)
