"""On a cluster the workflow gives the bytes that it gives on one machine."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from slurm_run import BLOCKS_PER_JOB, GPUS, GROUPS, N_BLOCKS, QUICK, REPOSITORY, SlurmRun

from promised import CONTRACT


def test_on_two_nodes_with_accounting_nothing_that_was_promised_is_missing(disturbed):
    assert len(disturbed.run.fits()) == N_BLOCKS
    for path in CONTRACT:
        assert (disturbed.run.run / path).exists(), path


def test_one_changed_byte_of_the_image_would_be_noticed(local, tmp_path):
    copy = SlurmRun(tmp_path)
    shutil.copytree(local.run, copy.run)
    assert copy.image() == local.image()
    shard = max(copy.run.glob("isotropic.ome.zarr/0/c/**/*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert copy.image() != local.image()


def test_fit_jobs_had_a_gpu_each_and_ran_on_both_nodes(disturbed, accounted):
    names = ",".join(disturbed.run.names)
    lines = accounted.call("squeue", "--states=all", "--noheader", "--name", names, "--format=%k %i %N").splitlines()
    jobs = [line.split() for line in lines]

    def gets_gpu(number: str) -> bool:
        return "gres/gpu=1" in accounted.call("sacct", "-X", "-j", number, "--noheader", "--parsable2", "--format=AllocTRES")

    fits = [(rule, number, node) for rule, number, *node in jobs if rule.startswith("rule_fit")]
    ran = [(number, *node) for _, number, node in fits if node and node[0] in accounted.nodes]
    assert len({rule for rule, _, _ in fits}) == N_BLOCKS // BLOCKS_PER_JOB
    assert {node for _, node in ran} == set(accounted.nodes)
    assert all(gets_gpu(number) for number, _ in ran)
    assert not any(gets_gpu(number) for rule, number, *_ in jobs if rule.startswith("rule_blend"))


def test_without_accounting_and_in_arrays_and_groups_of_jobs_too(unaccounted, local, programs, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        unaccounted.call("sacct")
    run = SlurmRun(tmp_path, unaccounted, programs)
    assert " ".join(GROUPS) in (REPOSITORY / "docs" / "slurm.md").read_text()
    run.finish("--workflow-profile", "profiles/slurm", "--slurm-array-jobs", "fit,blend", *GROUPS, *QUICK, *GPUS)
    assert run.image() == local.image()
    jobs = unaccounted.call("squeue", "--states=all", "--noheader", "--array", "--format=%F %K %k").splitlines()
    grouped = [line.split()[2] for line in jobs if "rule_fit" not in line and "rule_blend" not in line]
    assert [name.split("_")[1] for name in grouped] == ["begin", "end"], "one job before fitting, one after blending"
    arrays = {line.split()[0] for line in jobs if "rule_fit" in line}
    tasks = {line.split()[1] for line in jobs if "rule_fit" in line}
    assert len(arrays) == 1
    assert tasks == {"1", "2", "3", "4"}
