"""The commands that docs/output.md and docs/render.md show are commands there are, and ill-written ones are refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from isofield.cli import main, parser

DOCS = Path(__file__).parents[1] / "docs"


def commands(name: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / name).read_text(), flags=re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("isofield")]


@pytest.mark.parametrize("line", [*commands("output.md"), *commands("render.md")])
def test_a_documented_command_is_one(line):
    args = parser().parse_args(shlex.split(line)[1:])
    assert callable(args.run)
    with pytest.raises(SystemExit):  # negative control: the same with an option that there is not
        parser().parse_args([*shlex.split(line)[1:], "--no-such-option"])


def test_all_three_are_documented():
    assert {line.split()[1] for line in commands("output.md") + commands("render.md")} == {"check-readers", "export", "render"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("export", "nowhere", "--to", "a.tif"), "not the results folder"),
        (("check-readers", "nowhere"), "not the results folder"),
        (("check-readers", "s3://bucket/a.ome.zarr"), "object store"),
        (("render", "nowhere", "--voxel-size-nm", "4", "--out", "a"), "not the results folder"),
        (("export", "zarr", "--to", "a.tif", "--roi", "1:2,3:4"), "begin:end"),
        (("export", "zarr", "--to", "a.tif", "--roi", "1:2,3:4,6:5"), "begin:end"),
    ],
)
def test_what_is_ill_written_is_refused_by_name(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / "zarr.json").write_text("{}")
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["zarr"]
