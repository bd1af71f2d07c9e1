"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest


@pytest.fixture
def one_thread():
    """torch with one thread, and back: the number of threads is part of what makes results reproducible."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
