"""Locks of a run that die with their process: one snakemake per run, one process per job.

All are byte ranges of one file, `run.lock`, whose content says who holds the run. The system gives a lock up when its process
ends, however it ends: there is nothing to clean up after a kill. Network file systems keep them between machines unless they are
mounted without locks; then whoever asks is told so and goes on without.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isofield.errors import InputError
from isofield.progress import say

LOCK_FILE = "run.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
POLL_S = 0.5
_RUN = 0
_held: dict[Path, int] = {}


def claim_run(root: Path) -> None:
    """Hold the run below `root` until this process ends; makes the folder.

    Raises InputError, saying who has it, if another process does.
    """
    root = Path(root).resolve()
    if root in _held:
        return
    root.mkdir(parents=True, exist_ok=True)
    handle = _opened(root)
    if not _taken(handle, _RUN, root):
        holder = _holder(handle)
        os.close(handle)
        remedy = "Wait until it ends, or end it; for another run give another run.name"
        raise InputError("run", str(root), f"{holder} is working on it", remedy)
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(about).encode(), 0)
    # Never closed: the lock is this process's for as long as it lives.
    _held[root] = handle


@contextmanager
def job_lock(root: Path, job: str) -> Iterator[None]:
    """Work on `job` of the run below `root` alone: waits while another process does, which may have outlived its snakemake."""
    root = Path(root).resolve()
    handle, byte, waiting = _opened(root), _place(job), False
    try:
        while not _taken(handle, byte, root):
            if not waiting:
                say(f"{job}: another process is at it; waiting for it to end")
            waiting = True
            time.sleep(POLL_S)
        yield
    finally:
        os.close(handle)


def _opened(root: Path) -> int:
    return os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)


def _place(job: str) -> int:
    """The byte of a job, never that of the run."""
    return 1 + int.from_bytes(hashlib.sha256(job.encode()).digest()[:7], "little")


def _taken(handle: int, byte: int, root: Path) -> bool:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in NO_LOCKS:
            raise
        say(f"{root} lies on a file system without locks ({error.strerror}): see to it that nobody else works on this run")
    return True


def _holder(handle: int) -> str:
    try:
        about = json.loads(os.pread(handle, 4096, 0))
        return f"process {about['pid']} on {about['host']}, since {about['since']},"
    except (ValueError, KeyError, TypeError):
        return "another process"
