"""CONTRIBUTING.md says of every package that is asked for why it is here, what it reads, and which version is pinned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINS = dict(line.split("==") for line in (ROOT / "envs" / "constraints.txt").read_text().splitlines() if "==" in line)
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def named(name: str) -> str:
    """As package indices compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for() -> set[str]:
    """Packages of a run: all but those that only tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [texts for extra, texts in project["optional-dependencies"].items() if extra != "test"]
    return {named(re.match(r"[\w.-]+", text)[0]) for text in sum(extras, project["dependencies"])}


def stated(text: str) -> dict[str, str]:
    """Package -> version of the table of dependencies."""
    table = text.partition("## Dependencies")[2].partition("\n## ")[0]
    found = {}
    for packages in re.findall(r"^\| (?!package|-)([^|]+) \|", table, flags=re.MULTILINE):
        for package in packages.split(", "):
            name, _, version = package.partition(" ")
            found[named(name)] = version
    return found


def wrong_with(text: str) -> set[str]:
    pins, found = {named(name): version for name, version in PINS.items()}, stated(text)
    other = {name for name, version in found.items() if version != pins.get(name, "")}
    return found.keys() ^ asked_for() | other


def test_every_package_has_its_line():
    assert len(asked_for()) > 25
    assert wrong_with(TEXT) == set()


@pytest.mark.parametrize("package", ["torch", "tifffile", "mrcfile", "gcsfs"])
def test_a_package_that_is_missing_or_of_another_version_is_noticed(package):
    """Negative control."""
    assert wrong_with(re.sub(rf"\b{package}\b", "another", TEXT)) >= {package, "another"}
    version = stated(TEXT)[package]
    assert wrong_with(TEXT.replace(f"{package} {version}".strip(), f"{package} 0.0.1")) == {package}
