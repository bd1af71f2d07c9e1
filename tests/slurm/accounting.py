"""Accounting for a private SLURM: a database server and slurmdbd, both in the cluster's folder."""

from __future__ import annotations

import getpass
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CONFIGURATION = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""


class Accounting:
    """What `sacct` asks; `start` returns the daemons, the database first."""

    def __init__(self, folder: Path, munge: Path, free_port: Callable[[], int], spawn: Callable[..., subprocess.Popen]) -> None:
        self.folder, self.munge, self._spawn = folder, munge, spawn
        self.port, self.database_port = free_port(), free_port()

    @property
    def configuration(self) -> str:
        """Lines of slurm.conf."""
        lines = ("Type=accounting_storage/slurmdbd", "Host=127.0.0.1", f"Port={self.port}", f"Pass={self.munge}", "TRES=gres/gpu")
        return "\n".join(f"AccountingStorage{line}" for line in lines)

    def start(self) -> dict[str, subprocess.Popen]:
        user, data, door = getpass.getuser(), self.folder / "database", self.folder / "database.socket"
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"]
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, timeout=300)
        options = [f"--user={user}", f"--datadir={data}", f"--socket={door}", f"--port={self.database_port}"]
        options += ["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"]
        database = self._spawn("mariadbd", "--no-defaults", *options)
        grant = (
            "CREATE DATABASE slurm_acct_db; CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; "
            "CREATE USER slurm@localhost IDENTIFIED BY 'slurm'; "
            "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1'; GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
        )
        client = ["mariadb", "--no-defaults", f"--socket={door}", "--user=root", "-e"]
        _until(lambda: subprocess.run([*client, "SELECT 1"], capture_output=True, timeout=60).returncode == 0, "the database")
        subprocess.run([*client, grant], check=True, capture_output=True, timeout=60)
        path = self.folder / "slurmdbd.conf"
        names = {"munge": self.munge, "port": self.port, "database_port": self.database_port}
        path.write_text(CONFIGURATION.format(folder=self.folder, user=user, **names))
        path.chmod(0o600)
        daemon = self._spawn("slurmdbd", "-D")
        # The controller ends at once if it cannot ask it.
        _until(lambda: _listening(self.port), "slurmdbd")
        return {"mariadbd": database, "slurmdbd": daemon}


def _until(holds: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > timeout_s:
            raise TimeoutError(f"{what} did not answer within {timeout_s:g} s")
        time.sleep(0.2)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
