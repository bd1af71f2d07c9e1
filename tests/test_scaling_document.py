"""The tables of docs/scaling.md are what the commands above them print."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from isofield.cli import main

DOCUMENT = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")
SHOWN = [
    (shlex.split(command.replace("\\\n", " ")), printed)
    for command, printed in re.findall(r"```console\n\$ (isofield .*?[^\\])\n(.*?)```", DOCUMENT, flags=re.DOTALL)
]


def test_every_kind_of_volume_is_shown():
    assert [json.loads(command[2])["run"]["name"] for command, _ in SHOWN] == [
        "cremi_cube",
        "brain",
        "h01",
        "h01_region",
    ]


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=range(len(SHOWN)))
def test_the_document_shows_what_is_printed(command, printed, capsys):
    assert main(command[1:]) == 0
    assert capsys.readouterr().out == printed, "put what the command prints into docs/scaling.md"


def test_another_speed_would_be_noticed(capsys):
    command, printed = SHOWN[0]
    assert main([*command[1:], "--speed", "2"]) == 0
    assert capsys.readouterr().out != printed


def test_the_campaign_s_arithmetic_is_the_region_s():
    """The figures in the text follow from the region's table."""
    _, printed = SHOWN[3]
    n_blocks = int(re.search(r"blocks +(\d+)", printed)[1])
    assert n_blocks == -(-43_668 // 128) * 130**2
    n_regions = -(-440_000 // 16_384) * -(-600_000 // 16_384)
    assert f"{n_regions} of them" in DOCUMENT
    gpu_hours = float(re.search(r"^fit +\d+ +\S+ \S+ +([\d,]+)", printed, flags=re.MULTILINE)[1].replace(",", ""))
    assert f"| {n_regions * gpu_hours / 1e6:.1f} million |" in DOCUMENT
    assert f"| {n_regions * 342 * 130**2 / 1e9:.2f} billion |" in DOCUMENT
    assert f"{100 * ((130 / 128) ** 2 - 1):.1f} %" in DOCUMENT
