"""`isofield` and `snakemake` for tests of the workflow: their processes are forked from one that has imported everything.

A run of the workflow starts Python a dozen times, and importing torch is two thirds of what a small job costs. `warm` puts both
commands into a folder, to be first in PATH. Each call is a process of its own still: it has the caller's folder, environment,
output and exit status, gets its signals, and dies with it.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = {"isofield": "isofield.cli", "snakemake": "snakemake.cli"}
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
STAGES = ("planning", "training", "fitting", "blending", "imaging", "measuring", "reporting", "verifying", "tidying")
LOADED = (
    *("matplotlib.pyplot", "s3fs", "skimage.metrics"),
    *("isofield.cli", "isofield.verify.image", "isofield.verify.records"),
    *(f"isofield.stages.{name}" for name in (*STAGES, "joining", "overviewing", "previewing")),
)
CLIENT = """#!{python} -IS
import array, json, os, select, signal, socket, sys
# Signals are written down by whoever delivers them, so that none is missed however early it comes.
coming, come = os.pipe()
os.set_blocking(come, False)
signal.set_wakeup_fd(come)
for number in {forwarded}:
    signal.signal(number, lambda number, frame: None)
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
umask = os.umask(0)
os.umask(umask)
call = {{"argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ), "umask": umask}}
text = json.dumps(call).encode("ascii")
files = array.array("i", [0, 1, 2])
connection.sendmsg([len(text).to_bytes(8, "little")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
connection.sendall(text)
while connection not in select.select([connection, coming], [], [])[0]:
    connection.sendall(os.read(coming, 1))
answer = connection.recv(2)
if not answer:
    sys.exit("the process that forks for tests is gone")
status = int.from_bytes(answer, "little", signed=True)
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextmanager
def warm(folder: Path) -> Iterator[Path]:
    """The process that forks; gives the folder with the commands, which work until the end."""
    address = folder / "calls"
    for name in PROGRAMS:
        command = folder / name
        command.write_text(CLIENT.format(python=sys.executable, forwarded=[int(n) for n in FORWARDED], address=str(address)))
        command.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(address)], env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield folder
    finally:
        process.terminate()
        process.wait()


def load() -> None:
    """Everything of isofield that takes long to import and starts no thread."""
    for name in LOADED:
        importlib.import_module(name)


def serve(address: str) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    load()
    importlib.import_module("snakemake.cli")
    # Of what was forked nobody waits here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            keep(connection)
        connection.close()


def keep(connection: socket.socket) -> None:
    """Fork the command, pass on what its caller is sent, and tell how it ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    files = array.array("i")
    begin, with_it, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * files.itemsize))
    files.frombytes(with_it[0][2])
    text = b""
    while len(text) < int.from_bytes(begin, "little"):
        text += connection.recv(2**20)
    command = os.fork()
    if command == 0:
        connection.close()
        run(json.loads(text), files)
    for file in files:
        os.close(file)
    alive = os.pidfd_open(command)
    while alive not in select.select([alive, connection], [], [])[0]:
        if number := connection.recv(1):
            signal.pidfd_send_signal(alive, number[0])
        else:
            # The caller was killed.
            signal.pidfd_send_signal(alive, signal.SIGKILL)
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    connection.sendall(status.to_bytes(2, "little", signed=True))
    os._exit(0)


def run(call: dict, files: array.array) -> None:
    """Be the command; never returns."""
    status = 70
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(call["cwd"])
        os.umask(call["umask"])
        os.environ.clear()
        os.environ.update(call["environment"])
        program, *arguments = call["argv"]
        sys.argv = [Path(program).name, *arguments]
        # Tests that a shell started in the background ignore Ctrl-C, and so would what they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = importlib.import_module(PROGRAMS[sys.argv[0]]).main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
