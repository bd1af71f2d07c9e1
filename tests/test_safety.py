"""Nothing that runs what it reads: no pickle, no evaluation, no shell, safe YAML, weights as plain numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import isofield

PACKAGE = Path(isofield.__file__).parent
FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("commands", "pty", "telnetlib", "xmlrpc"),
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "os.spawnl", "os.spawnv", "tempfile.mktemp"),
    *("torch.load", "torch.save", "torch.jit.load", "torch.hub.load"),
    *("pd.read_pickle", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"),
}
STARTERS = {"run", "Popen", "call", "check_call", "check_output", "getoutput"}
SAFE_LOADERS = {"_OnceLoader", "yaml.SafeLoader", "yaml.CSafeLoader"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(code: str) -> list[str]:
    """What in a module could run what it reads; "line: what"."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if name in FORBIDDEN_CALLS or name.endswith((".to_pickle", ".read_pickle")):
                found.append(f"{node.lineno}: {name}")
            if name == "yaml.load" and not (len(node.args) == 2 and dotted(node.args[1]) in SAFE_LOADERS):
                found.append(f"{node.lineno}: yaml.load without a safe loader")
            for key, allowed in (("shell", False), ("allow_pickle", False)):
                value = keywords.get(key) if key != "shell" or name.split(".")[-1] in STARTERS else None
                if value is not None and not (isinstance(value, ast.Constant) and value.value is allowed):
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
    ],
)
def test_a_danger_is_noticed(code):
    """Negative control."""
    assert dangers(code)


def test_the_loader_of_configurations_is_a_safe_one():
    import yaml

    from isofield.config import _OnceLoader

    assert issubclass(_OnceLoader, yaml.SafeLoader)
    assert _OnceLoader.yaml_constructors == yaml.SafeLoader.yaml_constructors
