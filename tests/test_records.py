"""Atomic files and fingerprints."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isofield import records
from isofield.blockrecords import BlockRecord
from isofield.errors import InputError
from isofield.records import (
    fingerprint,
    publish_json_if_changed,
    read_json,
    sweep_partials,
    write_bytes_atomic,
    write_json,
)


def python(script: str, *args: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


# Fingerprints


@dataclass(frozen=True)
class Part:
    ratio: Fraction
    shape: tuple[int, ...]


def test_fingerprint_is_the_same_in_another_process_with_another_hash_seed():
    parts = 'Fraction(250, 23), {"b": {3, 1, 2}, "a": (1, 2.5, None, True)}, Path("x/y")'
    script = (
        "from fractions import Fraction; from pathlib import Path; from isofield.records import fingerprint; "
        f"print(fingerprint({parts}))"
    )
    here = fingerprint(Fraction(250, 23), {"a": (1, 2.5, None, True), "b": {1, 2, 3}}, Path("x/y"))
    assert python(script).communicate(timeout=60)[0].strip() == here


def test_fingerprint_sees_through_the_kind_of_container_and_scalar():
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [np.int64(1), 2], "a": np.uint8(1)})
    assert fingerprint(np.float64(0.1), np.arange(3), np.bool_(True)) == fingerprint(0.1, [0, 1, 2], True)
    assert fingerprint(Part(Fraction(8, 3), (1, 2))) == fingerprint({"ratio": Fraction(16, 6), "shape": [1, 2]})
    record = BlockRecord(block_id=1, state="done", fingerprint="f", stats={"loss": 0.25})
    assert fingerprint(record) == fingerprint(record.model_dump())


def test_fingerprint_tells_different_things_apart():
    different = [
        (1,),
        (1.0,),
        ("1",),
        (True,),
        (None,),
        ([1],),
        (1, 1),
        ([1, 1],),
        (Fraction(1, 3),),
        (1 / 3,),
        (),
    ]
    assert len({fingerprint(*parts) for parts in different}) == len(different)


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=6))
def test_fingerprint_ignores_the_order_of_keys(values):
    assert fingerprint(values) == fingerprint(dict(reversed(values.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_fingerprint_refuses_numbers_that_do_not_equal_themselves(value):
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(value)


@pytest.mark.parametrize("value", [object(), b"bytes", {(1, 2): 3}])
def test_fingerprint_refuses_what_has_no_canonical_form(value):
    with pytest.raises(TypeError):
        fingerprint(value)


# Files


def test_write_json_respects_the_umask_and_leaves_no_partial(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "new" / "a.json", {"ratio": Fraction(10, 3), "path": Path("b"), "loss": float("nan")})
    finally:
        os.umask(before)
    file = tmp_path / "new" / "a.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert read_json(file) == {"ratio": "10/3", "path": "b", "loss": None}
    assert os.listdir(file.parent) == ["a.json"]


def test_publish_if_changed_keeps_the_time_of_an_equal_file(tmp_path):
    file = tmp_path / "a.json"
    assert publish_json_if_changed(file, {"a": 1, "b": (2,)})
    os.utime(file, (1, 1))
    assert not publish_json_if_changed(file, {"b": [2], "a": 1})
    assert file.stat().st_mtime == 1
    assert publish_json_if_changed(file, {"b": [2], "a": 1.0})
    assert file.stat().st_mtime > 1
    file.write_text('{"a": 1')
    assert publish_json_if_changed(file, {"a": 1})
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize("content", [b"", b'{"a": 1, "b"', b"\xff\xfe", None])
def test_read_json_names_the_file_and_what_to_do(tmp_path, content):
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json.*run|plan\.json.*Run"):
        read_json(file)


def test_a_full_disk_leaves_the_old_file_and_no_partial(tmp_path):
    file = tmp_path / "a.bin"
    write_bytes_atomic(file, b"old")
    script = (
        "import resource, sys; from isofield.records import write_bytes_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes_atomic(sys.argv[1], bytes(100_000))\n"
        "except OSError as error: print('refused', error.errno)\n"
    )
    assert python(script, file).communicate(timeout=60)[0].startswith("refused")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_unencodable_object_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError, match="object"):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == 1


def test_sweep_removes_only_old_partials(tmp_path):
    for name, age_s in {"a.1.partial": 5000, "b.2.partial": 10, "c.json": 5000}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    (tmp_path / "image.3.partial" / "0").mkdir(parents=True)
    os.utime(tmp_path / "image.3.partial", (1, 1))
    assert sweep_partials(tmp_path, 3600) == 2
    assert sorted(os.listdir(tmp_path)) == ["b.2.partial", "c.json"]


def test_the_module_loads_nothing_heavy():
    script = "import sys, isofield.records; print(*sys.modules)"
    loaded = set(python(script).communicate(timeout=60)[0].split())
    assert "isofield.records" in loaded
    assert not loaded & {"torch", "dask", "zarr", "pandas", "numpy"}
    imports = [node for node in ast.walk(ast.parse(Path(records.__file__).read_text())) if isinstance(node, ast.Import)]
    assert not {alias.name for node in imports for alias in node.names} & {"torch", "dask", "zarr", "pandas"}
