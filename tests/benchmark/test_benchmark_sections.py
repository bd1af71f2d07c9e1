"""The benchmark of bad sections: it spoils what it says, knows it again, and shows what believing it costs."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from isofield.benchmark.gaps import PLANTED, spoil
from isofield.cli import main
from isofield.errors import InputError

SMALL = (
    "prior.channels=[8]",
    "prior.batch=4",
    "prior.patch_vox=32",
    "fit.steps=2",
    "blocks.write_vox=64",
)


def test_what_is_spoilt_is_said_and_the_rest_is_left_alone():
    sections = np.random.default_rng(0).integers(50, 200, (30, 20, 20)).astype(np.uint8)
    spoilt, planted = spoil(sections)
    assert set(planted.values()) == set(PLANTED)
    changed = {k for k in range(30) if (spoilt[k] != sections[k]).any()}
    assert changed == set(planted)
    with pytest.raises(InputError, match="too few"):
        spoil(sections[:20])


def test_believing_bad_sections_costs_what_bridging_them_saves(tmp_path, capsys):
    volume = "phantom:tissue?shape=104,64,64"
    given = [word for change in SMALL for word in ("--config", change)]
    arguments = ["--volume", volume, "--factor", "4", "--steps", "2", "--out", str(tmp_path), "--threads", "1", "--device", "cpu"]
    assert main(["benchmark", "sections", *arguments, *given]) == 0
    printed = capsys.readouterr()
    with open(tmp_path / "table.csv", newline="") as file:
        rows = {row["method"]: {k: float(v) for k, v in row.items() if k != "method"} for row in csv.DictReader(file)}
    assert list(rows) == [line.split(" | ")[0].removeprefix("| ") for line in printed.out.splitlines()[2:]]
    for method in ("cubic", "isofield"):
        handled = "cubic across the gaps" if method == "cubic" else method
        assert rows[handled]["damaged"] > rows[f"{method}, believing them"]["damaged"] + 3
    assert "section 3: missing, found to be missing" in printed.err
    assert "sound, found to be" not in printed.err
