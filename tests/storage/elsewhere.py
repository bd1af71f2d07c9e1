"""Statements run in another process, which knows of object stores what it is told."""

from __future__ import annotations

import os
import subprocess
import sys

from object_stores import SECRET


def elsewhere(statements: str, environment: dict[str, str]) -> str:
    """What a process whose environment holds `environment` prints of the InputError that `statements` raise."""
    script = f"""
from isofield.errors import InputError
from isofield.storage.place import place_of
try:
    {statements}
except InputError as error:
    print(type(error).__name__, error)
"""
    done = plain(script, environment)
    assert SECRET not in done
    return done


def plain(script: str, environment: dict[str, str]) -> str:
    """What it prints, on either stream."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "GOOGLE_", "STORAGE_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
