"""On a cluster the workflow gives the bytes that it gives on one machine."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from slurm_run import BLOCKS_PER_JOB, GPUS, N_BLOCKS, QUICK, SlurmRun

from promised import CONTRACT


def test_on_two_nodes_with_accounting_the_image_is_the_local_one(with_accounting, local):
    assert with_accounting.image() == local.image()
    assert len(with_accounting.fits()) == N_BLOCKS
    for path in CONTRACT:
        assert (with_accounting.run / path).exists(), path


def test_one_changed_byte_of_the_image_would_be_noticed(local, tmp_path):
    copy = SlurmRun(tmp_path)
    shutil.copytree(local.run, copy.run)
    assert copy.image() == local.image()
    shard = max(copy.run.glob("isotropic.ome.zarr/0/c/**/*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert copy.image() != local.image()


def test_fit_jobs_had_a_gpu_each_and_ran_on_both_nodes(with_accounting, accounted):
    (name,) = with_accounting.names
    lines = accounted.call("squeue", "--states=all", "--noheader", "--name", name, "--format=%k %i %N").splitlines()
    jobs = [line.split() for line in lines]

    def gets_gpu(number: str) -> bool:
        return "gres/gpu=1" in accounted.call("sacct", "-X", "-j", number, "--noheader", "--parsable2", "--format=AllocTRES")

    fits = [(number, node) for rule, number, node in jobs if rule.startswith("rule_fit")]
    assert len(fits) == N_BLOCKS // BLOCKS_PER_JOB
    assert {node for _, node in fits} == set(accounted.nodes)
    assert all(gets_gpu(number) for number, _ in fits)
    assert not any(gets_gpu(number) for rule, number, _ in jobs if rule.startswith("rule_blend"))


def test_without_accounting_and_in_job_arrays_too(unaccounted, local, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        unaccounted.call("sacct")
    run = SlurmRun(tmp_path, unaccounted)
    run.finish("--workflow-profile", "profiles/slurm", "--slurm-array-jobs", "fit,blend", *QUICK, *GPUS)
    assert run.image() == local.image()
    jobs = unaccounted.call("squeue", "--states=all", "--noheader", "--array", "--format=%F %K %k").splitlines()
    arrays = {line.split()[0] for line in jobs if "rule_fit" in line}
    tasks = {line.split()[1] for line in jobs if "rule_fit" in line}
    assert len(arrays) == 1
    assert tasks == {"1", "2", "3", "4"}
