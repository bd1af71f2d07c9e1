"""A private SLURM on this machine: controller, several "nodes", munge, fake GPUs and, if wanted, accounting.

Everything it writes lies in one folder, its ports were free, and it reads nothing of a SLURM that is installed here for use:
only the programs are needed, and no rights. As a program it runs one command inside such a cluster:

    python tests/slurm/cluster.py [--nodes N] [--accounting] COMMAND...
"""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from accounting import Accounting

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacct", "mariadbd", "mariadb-install-db")
# Debian keeps daemons where the path of ordinary users does not lead.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

CONFIGURATION = """\
ClusterName=isofield
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
InactiveLimit=0
KillWait=2
MinJobAge=86400
SlurmdTimeout=20
JobFileAppend=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
JobCompType=jobcomp/none
{accounting}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# What a node says it has is made up: rules ask for what their jobs may need, and the tests' jobs need little.
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000 Gres=gpu:{gpus}"


class Cluster:
    """A running SLURM with nodes node1, node2, ...; a context manager that ends all it started."""

    def __init__(self, n_nodes: int = 2, cpus: int = 3, gpus: int = 2, accounting: bool = False) -> None:
        self.n_nodes, self.cpus, self.gpus = n_nodes, cpus, gpus
        # Sockets have short names: not below a test's own long folder.
        self.folder = Path(tempfile.mkdtemp(prefix="isofield-slurm-"))
        self.accounting = Accounting(self.folder, self.munge_socket, free_port, self._spawn) if accounting else None
        self.daemons: dict[str, subprocess.Popen] = {}

    @property
    def nodes(self) -> list[str]:
        return [f"node{i}" for i in range(1, self.n_nodes + 1)]

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge.socket"

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which SLURM's programs, and jobs, talk to this cluster."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_"))}
        path = f"{self.folder / 'bin'}{os.pathsep}{PATH}"
        return {**inherited, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def call(self, *command: str) -> str:
        """Output of one of SLURM's programs. Raises CalledProcessError if it fails."""
        return subprocess.run(command, env=self.environment, check=True, text=True, capture_output=True, timeout=60).stdout

    def lose(self, node: str) -> None:
        """What a power cut does to a node: its daemon and everything that runs on it are gone at once."""
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()
        for pid in self._processes_on(node):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def bring_back(self, node: str) -> None:
        self.daemons[node] = self._spawn("slurmd", "-D", "-N", node)

    def node_states(self) -> dict[str, str]:
        return dict(line.split() for line in self.call("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def _start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {name: self.folder / f"munge.{name}" for name in ("pid", "log", "seed")}
        options = [f"--{name}-file={path}" for name, path in files.items()]
        # --force: the folder is ours alone, which munge, made for all users of a machine, would refuse.
        self.daemons["munged"] = self._spawn(
            "munged", "--foreground", "--force", "--num-threads=8", f"--key-file={key}", f"--socket={self.munge_socket}", *options
        )
        wait_for(self.munge_socket.exists, "munge", self._logs)
        self._write_configuration()
        if self.accounting:
            self.daemons |= self.accounting.start()
        self.daemons["slurmctld"] = self._spawn("slurmctld", "-D", "-c")
        for node in self.nodes:
            self.bring_back(node)
        wait_for(self._ready, "all nodes", self._logs)

    def _write_configuration(self) -> None:
        for i in range(self.gpus):
            # Any device will do: SLURM hands out its number and does not open it.
            (self.folder / f"gpu{i}").symlink_to(("/dev/null", "/dev/zero", "/dev/full")[i])
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        nodes = [NODE.format(name=n, host=host, port=free_port(), cpus=self.cpus, gpus=self.gpus) for n in self.nodes]
        for node in self.nodes:
            (self.folder / f"spool-{node}").mkdir()
        (self.folder / "state").mkdir()
        text = CONFIGURATION.format(
            host=host,
            user=user,
            munge=self.munge_socket,
            port=free_port(),
            folder=self.folder,
            accounting="\n".join([self.accounting.configuration if self.accounting else "", *nodes]),
        )
        (self.folder / "slurm.conf").write_text(text)
        files = f"{self.folder}/gpu[0-{self.gpus - 1}]" if self.gpus > 1 else f"{self.folder}/gpu0"
        (self.folder / "gres.conf").write_text(f"Name=gpu File={files} Flags=nvidia_gpu_env\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        # Snakemake calls srun without any SLURM_ variable, so that it would look for the configuration in /etc.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{self.folder}/slurm.conf" exec {shutil.which("srun", path=PATH)} "$@"\n')
        srun.chmod(0o755)

    def _ready(self) -> bool:
        for name, daemon in self.daemons.items():
            if daemon.poll() is not None:
                raise ChildProcessError(f"{name} ended with {daemon.returncode}\n{self._logs()}")
        with suppress(subprocess.CalledProcessError):
            return set(self.node_states().values()) == {"idle"}
        return False

    def _spawn(self, *command: str) -> subprocess.Popen:
        with open(self.folder / f"{command[0]}.out", "ab") as out:
            return subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def _processes_on(self, node: str) -> list[int]:
        """Processes of this cluster's jobs on a node, and the keepers of their steps."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                ours = f"SLURM_CONF={self.folder}/slurm.conf".encode() in variables
                if ours and (f"SLURMD_NODENAME={node}".encode() in variables or f"spool-{node}".encode() in words):
                    found.append(int(entry.name))
        return found

    def _stop(self) -> None:
        controller = self.daemons.get("slurmctld")
        with suppress(subprocess.SubprocessError, OSError):
            if controller is not None and controller.poll() is None:
                self.call("scancel", "--user", getpass.getuser())
                wait_for(lambda: not self.call("squeue", "-h"), "the last job's end", str, timeout_s=20)
        # The other way round than they were started: each may need those before it to end well.
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for node in self.nodes:
            for pid in self._processes_on(node):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _logs(self) -> str:
        texts = [p.read_text(errors="replace")[-2000:] for p in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])]
        return "\n".join(texts)


def missing_programs(accounting: bool = False) -> list[str]:
    """Programs that a cluster needs and this machine lacks."""
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in wanted if shutil.which(name, path=PATH) is None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(holds: Callable[[], object], what: str, explain: Callable[[], str], timeout_s: float = 120.0) -> None:
    """Return once `holds()`. Raises TimeoutError saying what never came, with what `explain()` knows."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > timeout_s:
            raise TimeoutError(f"{what} did not come within {timeout_s:g} s\n{explain()}")
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command inside a private SLURM on this machine.")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and mariadb, so that sacct works")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if lacking := missing_programs(args.accounting):
        print(f"not installed: {', '.join(lacking)}", file=sys.stderr)
        return 2
    with Cluster(args.nodes, accounting=args.accounting) as cluster:
        return subprocess.run(args.command, env=cluster.environment).returncode


if __name__ == "__main__":
    sys.exit(main())
