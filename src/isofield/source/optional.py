"""Libraries that only some formats need: not installed unless asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from isofield.errors import InputError


def library(name: str, extra: str, uri: object) -> ModuleType:
    """The module `name`, which the extra `extra` installs. Raises InputError saying so where it is not there."""
    try:
        return import_module(name)
    except ImportError as error:
        limit = f"needs a package that is not installed ({error.name or name})"
        raise InputError("source.path", str(uri), limit, f"pip install 'isofield[{extra}]'") from None
