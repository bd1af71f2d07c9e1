"""The benchmark of speed: it times what a run does, and its floors are floors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from isofield.benchmark.timing import DevicePeak, counted, timed
from isofield.cli import main

PARTS = ["training step", "denoise", "fit", "pack", "render", "blend", "regressor"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    out = tmp_path_factory.mktemp("speed")
    # Sections of three such blocks hold no patch of the default size.
    small = ("prior.channels=[8,8]", "prior.batch=2", "fit.steps=8")
    arguments = ("--block-vox", "32", "--ratio", "4", "--repeats", "1", "--threads", "1", "--device", "cpu", "--batch", "2")
    assert main(["benchmark", "speed", *arguments, "--out", str(out), "--config", *small]) == 0
    return pd.read_csv(out / "speed.csv").set_index("part")


def test_every_part_has_its_time_and_its_floor(table):
    assert list(table.index) == PARTS
    assert (table["seconds"] > 0).all()
    assert table.loc["fit", "mvoxel_per_s"] == pytest.approx(2 * 32**3 / 1e6 / table.loc["fit", "seconds"])
    assert table.loc["fit", "tflop"] > table.loc["denoise", "tflop"]
    # That no part is faster than its floor holds on a machine that does nothing else; what is sure is what the columns mean.
    assert (table["floor_s"] > 0).all()
    assert np.allclose(table["times_floor"], table["seconds"] / table["floor_s"])


def test_operations_are_counted_as_they_are():
    a, b = torch.ones(64, 32), torch.ones(32, 16)
    assert counted(lambda: a @ b) == 2 * 64 * 32 * 16


def test_the_least_time_counts():
    import time

    pauses = iter([0.0, 0.05, 0.001, 0.05])
    assert timed(lambda: time.sleep(next(pauses)), CPU, repeats=3) < 0.03


def test_the_floor_is_the_longer_of_operations_and_bytes():
    peak = DevicePeak(flop_per_s=1e12, bytes_per_s=1e10, dtype="float32")
    assert peak.floor_s(2e12, 1e9) == 2
    assert peak.floor_s(1e9, 1e10) == 1
