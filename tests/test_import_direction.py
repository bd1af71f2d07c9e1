"""Which way the stairs go: imports point down only, pure rooms stay pure, parsing the workflow stays light."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import isofield

PACKAGE = Path(isofield.__file__).parent
COMMON = Path(__file__).parents[1] / "workflow" / "rules" / "common.smk"

LAYERS: list[set[str]] = [
    {"cli"},
    {"benchmark"},
    {"stages"},
    {"cost", "recovery", "verify"},
    {"plan", "status", "units"},
    {
        "config",
        "source",
        "omezarr",
        "report",
        "storage",
        "records",
        "fieldstore",
        "blockrecords",
        "shardrecords",
        "paths",
        "progress",
        "parallel",
        "locking",
    },
    {
        *("blocks", "jobs", "bundling", "blend", "measurement", "intensity", "interpolation", "defects"),
        *("prior", "field", "quality", "phantom"),
    },
    {"geometry", "optimisers"},
    {"spec", "errors", "speed"},
]
"""Rooms from the top of the house to its ground floor. A room is a module or a package directly below isofield."""

SIDEWAYS: dict[tuple[str, str], str] = {
    ("status", "plan"): "the status of a run counts against its plan",
    ("omezarr", "records"): "metadata are JSON as records are",
    ("omezarr", "storage"): "an image lies in a folder or in an object store",
    ("source", "storage"): "a volume lies in a folder or in an object store",
    ("paths", "storage"): "the image may be given by its address",
    ("parallel", "progress"): "whoever watches is told where",
    ("locking", "progress"): "whoever waits for a lock says so",
    ("storage", "records"): "local files are published atomically",
    ("config", "records"): "a stage is told what it was given by a fingerprint",
    ("source", "records"): "identities of sources are fingerprints",
    ("source", "paths"): "readers may name files of a run",
    ("omezarr", "paths"): "writers may name files of a run",
    ("blockrecords", "records"): "a record is a sealed file",
    ("fieldstore", "blockrecords"): "fields of a job in progress lie beside their records",
    ("fieldstore", "records"): "a pack holds the records of a job's blocks, and their fields",
    ("shardrecords", "records"): "shards have records as blocks have",
    ("jobs", "blocks"): "jobs share out the blocks of a grid",
    ("blend", "blocks"): "windows belong to a grid of blocks",
    ("field", "defects"): "data of a block say which sections are not believed",
    ("prior", "defects"): "the prior learns what is seen where sections are missing",
    ("field", "measurement"): "a field is fitted through the measurement",
    ("field", "interpolation"): "a field is built over the interpolated measurement",
    ("quality", "measurement"): "the baselines learn from sections degraded by the measurement",
    ("quality", "interpolation"): "interpolation is a baseline, and what the others are built over",
    ("quality", "prior"): "the supervised bound is the prior's network, in the prior's precision",
    ("prior", "measurement"): "the prior learns from slices degraded by the measurement",
    ("prior", "interpolation"): "the prior is conditioned on the interpolated measurement",
}
"""Imports between two rooms of one layer that are allowed, each with its reason. All others are not."""

PURE = set().union(*LAYERS[-3:])
NOT_IN_PURE_ROOMS = {"zarr", "dask", "snakemake", "pandas"}
ALLOWED_IN_SPECS = {"pydantic"}
HEAVY = ("torch", "dask", "zarr", "pandas", "scipy")


def imports_of(file: Path, name: str) -> set[str]:
    """Dotted names of all modules that module `name` imports anywhere, also lazily or for type checking only."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            # `from isofield.report import charts` may name a module or something in one: keep the longer name.
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found - {name}


def all_imports(package: Path) -> dict[str, set[str]]:
    """Module -> imports, of every module below `package`; modules are named relative to its parent."""
    result = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        result[name] = imports_of(file, name)
    return result


def room_of(module: str) -> str | None:
    """The room of isofield that a dotted name lies in; None for the package itself and for other packages."""
    top, _, rest = module.partition(".")
    return rest.split(".")[0] if top == "isofield" and rest and not rest.startswith("__") else None


def is_spec(module: str) -> bool:
    """Modules named spec, or anything imported from one: Specs are data that every room may read."""
    return module == "isofield.spec" or "spec" in module.split(".")[2:4]


def wrong_imports(package: Path) -> list[str]:
    """Every import that points up, sideways without a reason, or out of a spec; "importer -> imported: why"."""
    layer = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    wrong = []
    for importer, imported in all_imports(package).items():
        own = room_of(importer)
        for module in sorted(imported):
            room = room_of(module)
            if own is None or room is None or room == own:
                continue
            if own not in layer or room not in layer:
                wrong.append(f"{importer} -> {module}: a room that no layer names")
            elif is_spec(importer) and room not in LAYERS[-1]:
                wrong.append(f"{importer} -> {module}: a spec imports spec and errors only")
            elif is_spec(module):
                continue
            elif layer[room] < layer[own]:
                wrong.append(f"{importer} -> {module}: up")
            elif layer[room] == layer[own] and (own, room) not in SIDEWAYS and own not in LAYERS[-1]:
                wrong.append(f"{importer} -> {module}: sideways")
    return wrong


def impure_imports(package: Path) -> list[str]:
    """Imports of storage, schedulers and tables in pure rooms, and of anything but pydantic in specs."""
    wrong = []
    for importer, imported in all_imports(package).items():
        roots = {module.split(".")[0] for module in imported}
        if room_of(importer) in PURE:
            wrong += [f"{importer} -> {root}" for root in sorted(roots & NOT_IN_PURE_ROOMS)]
        if is_spec(importer):
            foreign = roots - ALLOWED_IN_SPECS - sys.stdlib_module_names - {"isofield"}
            wrong += [f"{importer} -> {root}" for root in sorted(foreign)]
    return wrong


def importers_of(package: Path, room: str) -> set[str]:
    """Rooms that import `room` for more than its Specs and its description of a volume."""
    harmless = ("isofield.source.volume", "isofield.source.region", "isofield.source.probe")
    found = set()
    for importer, imported in all_imports(package).items():
        used = [m for m in imported if room_of(m) == room and not is_spec(m) and not m.startswith(harmless)]
        if used and room_of(importer) != room:
            found.add(room_of(importer) or "isofield")
    return found


# The house as it is


def test_imports_point_down():
    assert wrong_imports(PACKAGE) == []


def test_every_room_has_a_layer():
    rooms = {room_of(name) for name in all_imports(PACKAGE)} - {None}
    assert rooms <= set().union(*LAYERS)


def test_pure_rooms_know_no_storage_and_specs_only_pydantic():
    assert impure_imports(PACKAGE) == []


def test_only_stages_and_benchmarks_read_sources_and_use_fields():
    assert importers_of(PACKAGE, "source") == {"benchmark", "stages"}
    assert importers_of(PACKAGE, "field") == {"benchmark", "stages"}


def test_only_the_workflow_knows_snakemake():
    assert [name for name, modules in all_imports(PACKAGE).items() if any(m.startswith("snakemake") for m in modules)] == []


# The same functions notice when it is not so


HOUSE = {
    "__init__.py": "",
    "spec.py": "from pydantic import BaseModel\n",
    "geometry.py": "",
    "measurement.py": "from isofield.geometry import ZYX\n",
    "field/__init__.py": "",
    "field/spec.py": "from isofield.spec import Spec\n",
    "field/fit.py": "from isofield.measurement import matrix\nfrom isofield.field.spec import FitSpec\n",
    "prior/__init__.py": "",
    "prior/spec.py": "from isofield.spec import Spec\n",
    "prior/network.py": "import torch\n",
    "config.py": "from isofield.field.spec import FitSpec\n",
    "stages/__init__.py": "",
    "stages/fitting.py": "from isofield.config import Config\nfrom isofield.field.fit import fit\n",
    "cli.py": "def main():\n    from isofield.stages import fitting\n",
}

BROKEN = {
    "up": ("geometry.py", "from isofield.measurement import matrix\n", "isofield.geometry -> isofield.measurement.matrix: up"),
    "up, from the package": ("measurement.py", "from isofield import stages\n", "isofield.measurement -> isofield.stages: up"),
    "up, lazily": (
        "field/fit.py",
        "def f():\n    import isofield.config\n",
        "isofield.field.fit -> isofield.config: up",
    ),
    "up, relative": (
        "field/fit.py",
        "from ..stages.fitting import fit\n",
        "isofield.field.fit -> isofield.stages.fitting.fit: up",
    ),
    "up, relative to the package": ("prior/__init__.py", "from .. import cli\n", "isofield.prior -> isofield.cli: up"),
    "up, for types": (
        "prior/network.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from isofield.config import Config\n",
        "isofield.prior.network -> isofield.config.Config: up",
    ),
    "sideways": (
        "prior/network.py",
        "from isofield.field.fit import fit\n",
        "isofield.prior.network -> isofield.field.fit.fit: sideways",
    ),
    "out of a spec": (
        "field/spec.py",
        "from isofield.geometry import ZYX\n",
        "isofield.field.spec -> isofield.geometry.ZYX: a spec imports spec and errors only",
    ),
    "a room of no layer": (
        "geometry.py",
        "from isofield.utils import clamp\n",
        "isofield.geometry -> isofield.utils.clamp: a room that no layer names",
    ),
}


def build(folder: Path, changes: dict[str, str]) -> Path:
    package = folder / "isofield"
    for name, text in (HOUSE | changes).items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return package


def test_a_sound_house_passes(tmp_path):
    package = build(tmp_path, {})
    assert (wrong_imports(package), impure_imports(package)) == ([], [])
    assert importers_of(package, "field") == {"stages"}


@pytest.mark.parametrize("way", BROKEN)
def test_an_arrow_that_points_the_wrong_way_is_caught(tmp_path, way):
    file, text, message = BROKEN[way]
    assert wrong_imports(build(tmp_path, {file: text})) == [message]


def test_what_makes_a_pure_room_impure_is_caught(tmp_path):
    package = build(tmp_path, {"geometry.py": "import zarr.storage\n", "prior/spec.py": "import numpy as np\n"})
    assert impure_imports(package) == ["isofield.geometry -> zarr", "isofield.prior.spec -> numpy"]


def test_a_field_used_outside_the_stages_is_caught(tmp_path):
    package = build(tmp_path, {"cli.py": "from isofield.field.fit import fit\n"})
    assert importers_of(package, "field") == {"stages", "cli"}


# Parsing the workflow


def loaded_by(statements: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after `statements`."""
    script = f"import sys\n{statements}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_parsing_the_workflow_loads_nothing_heavy():
    imported = re.findall(r"^from isofield\S* import .+$", COMMON.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(imported) >= 7
    assert loaded_by("\n".join(imported)) == set()


def test_loading_something_heavy_would_be_noticed():
    assert loaded_by("import isofield.interpolation") == {"scipy"}


WITHOUT_TORCH = ("planning", "imaging", "joining", "measuring", "reporting", "overviewing", "verifying", "tidying")


def test_stages_without_a_network_start_without_loading_one():
    """They are most of a run's jobs, and torch takes longer to load than some of them to run."""
    found = loaded_by("\n".join(f"import isofield.stages.{name}" for name in WITHOUT_TORCH))
    assert "torch" not in found
    assert "torch" in loaded_by("import isofield.stages.fitting")
