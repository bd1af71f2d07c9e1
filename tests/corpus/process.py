"""Cases through processes of their own, without the right to do everything where this user has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import isofield

from .case import Case

PLAINLY = ["setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"]
"""Starts what follows as a user whom permissions concern, which otherwise they do not root (setpriv of util-linux)."""


def in_a_process(case: Case, folder: Path, plainly: bool = False) -> subprocess.CompletedProcess[str]:
    """The case's last command in `folder`, by `python -m isofield.cli`; `plainly`: subject to permissions, root too."""
    command = [sys.executable, "-m", "isofield.cli", *case.arguments(case.commands[-1])]
    environment = {**os.environ, "PYTHONPATH": str(Path(isofield.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    before = PLAINLY if plainly and os.geteuid() == 0 else []
    return subprocess.run([*before, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@contextmanager
def in_a_folder() -> Iterator[Path]:
    """An empty folder; permissions to enter what is in it are given back at the end, so that it can be removed."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        for parent, folders, _ in os.walk(name):
            for folder in folders:
                Path(parent, folder).chmod(0o755)
