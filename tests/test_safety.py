"""Nothing that runs what it reads: no pickle, no evaluation, no shell, safe YAML, weights as plain numbers."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

import isofield
from isofield.errors import InputError
from isofield.geometry import ZYX, Roi
from isofield.source import open_source
from isofield.source.spec import SourceSpec

PACKAGE = Path(isofield.__file__).parent
FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("commands", "pty", "telnetlib", "xmlrpc"),
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "os.spawnl", "os.spawnv", "tempfile.mktemp", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("shutil.unpack_archive",),
    *("torch.load", "torch.save", "torch.jit.load", "torch.hub.load"),
    *("pd.read_pickle", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"),
}
STARTERS = {"run", "Popen", "call", "check_call", "check_output", "getoutput"}
SAFE_LOADERS = {"_OnceLoader", "yaml.SafeLoader", "yaml.CSafeLoader"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def dangers(code: str) -> list[str]:
    """What in a module could run what it reads; "line: what"."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [f"{node.lineno}: {name} by another name" for name in whole if name in FORBIDDEN_CALLS]
        found += [f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in FORBIDDEN_CALLS or name.endswith((".to_pickle", ".read_pickle", ".extractall")):
                found.append(f"{node.lineno}: {name}")
            if name == "yaml.load" and not (len(node.args) == 2 and dotted(node.args[1]) in SAFE_LOADERS):
                found.append(f"{node.lineno}: yaml.load without a safe loader")
            if name.split(".")[-1] == "Environment" and not _is(keywords.get("autoescape"), True):
                found.append(f"{node.lineno}: page without escaping")
            for key, allowed in (("shell", False), ("allow_pickle", False)):
                value = keywords.get(key) if key != "shell" or name.split(".")[-1] in STARTERS else None
                if value is not None and not _is(value, allowed):
                    found.append(f"{node.lineno}: {key}")
            if name.endswith("read_array") and "allow_pickle" not in keywords:
                found.append(f"{node.lineno}: read_array that may unpickle")
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_runs_what_it_reads(file):
    assert dangers(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import dump",
        "import torch\ntorch.load('a.pt')",
        "torch.load('a.pt', weights_only=False)",
        "np.load('a.npy', allow_pickle=True)",
        "np.lib.format.read_array(file)",
        "frame.to_pickle('a')",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text)",
        "subprocess.run(command, shell=True)",
        "os.system('ls')",
        "eval(text)",
        "from os import system",
        "from torch import load",
        "subprocess.getoutput(command)",
        "archive.extractall(folder)",
        "jinja2.Environment(undefined=StrictUndefined)",
    ],
)
def test_a_danger_is_noticed(code):
    """Negative control."""
    assert dangers(code)


def test_the_loader_of_configurations_is_a_safe_one():
    import yaml

    from isofield.config.file import _OnceLoader

    assert issubclass(_OnceLoader, yaml.SafeLoader)
    assert _OnceLoader.yaml_constructors == yaml.SafeLoader.yaml_constructors


class Payload:
    """An object whose pickle, once loaded, leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["filters", "compressor"])
@pytest.mark.parametrize("before", [[], [{"id": "zlib", "level": 1}]], ids=["alone", "behind another"])
def test_a_zarr_whose_metadata_ask_for_unpickling_is_refused(tmp_path, where, before):
    """numcodecs has such a codec. Negative control: whoever unpickles these bytes runs what they say."""
    made, codec = tmp_path / "made", {"id": "pickle", "protocol": 5}
    payload = pickle.dumps(Payload(made))
    pickle.loads(payload)
    assert made.exists()
    made.unlink()
    array = tmp_path / "a.zarr"
    array.mkdir()
    codecs = {"compressor": None, "filters": before or None}
    codecs[where] = codec if where == "compressor" else [*before, codec]
    about = {"zarr_format": 2, "shape": [3, 8, 8], "chunks": [3, 8, 8], "dtype": "|u1", "fill_value": 0, "order": "C", **codecs}
    (array / ".zarray").write_text(json.dumps(about))
    (array / "0.0.0").write_bytes(payload)
    with pytest.raises(InputError, match=r"source\.path.*cannot be read"):
        open_source(SourceSpec(path=str(array), voxel_size_nm=(50, 10, 10))).read(Roi(ZYX(0, 0, 0), ZYX(3, 8, 8)))
    assert not made.exists()


def test_entities_in_the_xml_of_a_tiff_do_not_grow(tmp_path):
    """Ten of ten of ten ... of a word. Negative control: expat itself says that this is what it is."""
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    xml = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY e0 "lol">{levels}]><OME><Image>&e9;</Image></OME>'
    with pytest.raises(ElementTree.ParseError, match="amplification"):
        ElementTree.fromstring(xml)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((3, 16, 16), np.uint8), photometric="minisblack", description=xml)
    with pytest.raises(InputError, match=r"source\.path.*OME-XML .* cannot be read"):
        open_source(SourceSpec(path=str(path)))
