"""docs/formats.md: every test that its table names exists, and every reader has a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import isofield

ROOT = Path(__file__).parents[1]
READERS = Path(isofield.__file__).parent / "source"
COLUMNS = ["format", "read", "lazily", "voxel size from metadata", "remote", "test that proves it"]


def rows(text: str) -> list[list[str]]:
    """Cells of the first table, header first, without the line below it."""
    table = re.search(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    lines = table.group().splitlines() if table else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for i, line in enumerate(lines) if i != 1]


def missing_tests(text: str) -> list[str]:
    """Cells of the last column that name no test function of a file of the tests."""
    missing = []
    for cell in (row[-1].strip("`") for row in rows(text)[1:]):
        file, _, name = cell.partition("::")
        path = ROOT / file
        functions = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)] if path.is_file() else []
        if name not in functions or not name.startswith("test_"):
            missing.append(cell)
    return missing


def readers() -> set[str]:
    """Modules of the source room that describe and load a format."""
    found = set()
    for file in READERS.glob("*.py"):
        functions = {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
        if {"describe", "load"} <= functions:
            found.add(file.stem)
    return found


def test_every_test_in_the_table_exists():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    header, *formats = rows(text)
    assert header == COLUMNS
    assert len(formats) >= 19
    assert missing_tests(text) == []


def test_an_invented_test_is_noticed():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert missing_tests(text.replace("test_lif_by_hand", "test_lif_by_magic")) == [
        "tests/source/test_source_microscope.py::test_lif_by_magic"
    ]
    assert len(missing_tests(text.replace("tests/source/", "tests/sauce/"))) == len(rows(text)) - 1


def test_every_reader_has_a_row():
    """By the file of its tests; the phantom is no format."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    tested = {re.search(r"test_source_(\w+)\.py", row[-1]).group(1).removesuffix("_writers") for row in rows(text)[1:]}
    assert {name.removesuffix("_store") for name in readers()} - {"phantom"} == tested
