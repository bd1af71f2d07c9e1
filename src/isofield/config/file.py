"""A configuration as it is typed: a YAML file or JSON in quotes, with single keys overridden."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from isofield.errors import InputError


def read_mapping(text: str | os.PathLike[str]) -> dict[str, Any]:
    """Nested mapping from a YAML file, or from `text` itself if it starts like a JSON object."""
    name = os.fspath(text)
    if name.lstrip().startswith("{"):
        try:
            values = json.loads(name)
        except json.JSONDecodeError as error:
            raise InputError("configuration", name[:80], f"is not valid JSON ({error})", "Mend it, or give a YAML file") from None
    else:
        path = Path(name)
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), _OnceLoader)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            remedy = "Give the path of a YAML file, such as config/demo.yaml"
            raise InputError("configuration", name, "is not a file", remedy) from None
        except OSError as error:
            closed = isinstance(error, PermissionError)
            limit = "may not be read by this user" if closed else f"cannot be read ({error.strerror})"
            remedy = "Give yourself permission to read it" if closed else "Give the path of a YAML file"
            raise InputError("configuration", name, limit, remedy) from None
        except UnicodeDecodeError as error:
            limit = f"is not valid YAML (no UTF-8 text: {error.reason} at byte {error.start})"
            raise InputError("configuration", name, limit, "Save it as UTF-8 text, or mend the name") from None
        except yaml.YAMLError as error:
            raise InputError("configuration", name, f"is not valid YAML ({_on_one_line(error)})", "Mend that line") from None
    if not isinstance(values, dict):
        raise InputError("configuration", name, "holds no sections", "It needs at least run.name and source.path")
    return values


def with_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`values` with `section.key=value` overrides. Raises InputError for one of another form."""
    for override in overrides:
        path, equals, value = override.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise InputError("--config", override, "is not section.key=value", "Write it like fit.mode=sds")
        target = values
        for key in keys[:-1]:
            if not isinstance(target.get(key), dict):
                target[key] = {}
            target = target[key]
        try:
            target[keys[-1]] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError("--config", override, "its value is not valid YAML", "Put quotes around the value") from None
    return values


class _OnceLoader(yaml.SafeLoader):
    """YAML's plain types and no others; a key given twice is an error, where YAML loaders drop what stands first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(problem=f"{key.value!r} twice", problem_mark=key.start_mark)
            seen.add(getattr(key, "value", ""))
        return super().construct_mapping(node, deep)


def _on_one_line(error: yaml.YAMLError) -> str:
    """What is wrong and where, as `problem, line 3 column 6`."""
    mark = getattr(error, "context_mark", None) or getattr(error, "problem_mark", None)
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    said = ": ".join(part for part in parts if part) or " ".join(str(error).split())
    return f"{said}, line {mark.line + 1} column {mark.column + 1}" if mark else said
