"""The private SLURM is one: nodes, GPUs and accounting answer, and nothing is left of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cluster import Cluster, missing_programs, wait_for


def processes_under(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def test_a_job_gets_the_gpu_it_asks_for_and_is_accounted_for(accounted, tmp_path):
    out = tmp_path / "out.txt"
    accounted.call("sbatch", "--wait", "--gpus=1", f"--output={out}", "--wrap", "srun env")
    lines = out.read_text().splitlines()
    assert any(line.startswith("CUDA_VISIBLE_DEVICES=") for line in lines)
    assert f"SLURMD_NODENAME={accounted.nodes[0]}" in lines
    # What accounting knows comes to it a little later.
    query = ("sacct", "-X", "--noheader", "--parsable2", "--format=AllocTRES")
    wait_for(lambda: "gres/gpu=1" in accounted.call(*query), "the job's record", lambda: accounted.call(*query), timeout_s=60)


def test_more_gpus_than_there_are_are_refused(accounted):
    with pytest.raises(subprocess.CalledProcessError, match="sbatch"):
        accounted.call("sbatch", "--nodes=1", "--gpus=3", "--wrap", "true")


def test_nothing_is_left_of_a_cluster_not_even_of_its_jobs():
    if lacking := missing_programs():
        pytest.skip(f"no SLURM here: {', '.join(lacking)} not installed")
    with Cluster(n_nodes=1) as cluster:
        cluster.call("sbatch", "--output=/dev/null", "--wrap", "sleep 600")
        assert cluster.node_states().keys() == {"node1"}
        assert processes_under(cluster.folder)
        with pytest.raises(subprocess.CalledProcessError):
            cluster.call("sacct")
    assert not cluster.folder.exists()
    assert processes_under(cluster.folder) == []
