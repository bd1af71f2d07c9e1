"""On a cluster the workflow gives the bytes that it gives on one machine."""

from __future__ import annotations

import subprocess

import pytest
from slurm_run import BLOCKS_PER_JOB, GPUS, N_BLOCKS, QUICK, SlurmRun

from promised import CONTRACT


def test_on_two_nodes_with_accounting_the_image_is_the_local_one(with_accounting, local):
    assert with_accounting.image() == local.image()
    assert len(with_accounting.fits()) == N_BLOCKS
    for path in CONTRACT:
        assert (with_accounting.run / path).exists(), path
    # Another volume would not have gone unnoticed: every chunk's bytes are in the comparison.
    assert sum("/c/" in name for name in local.image()) > 6


def test_fit_jobs_had_a_gpu_each_and_ran_on_both_nodes(with_accounting, accounted):
    lines = accounted.call("sacct", "-X", "--noheader", "--parsable2", "--format=Comment%60,State,AllocTRES%200,NodeList")
    comments = accounted.call("squeue", "--states=all", "--noheader", "--format=%i|%k|%N").splitlines()
    fits = [line.split("|") for line in comments if "|rule_fit" in line]
    assert len(fits) == N_BLOCKS // BLOCKS_PER_JOB
    assert {node for _, _, node in fits} == set(accounted.nodes)
    trained = sum("rule_train" in line for line in comments)
    assert lines.count("gres/gpu=1") >= len(fits) + trained
    others = [line.split("|")[0] for line in comments if "|rule_blend" in line]
    for job in others:
        assert "gres/gpu" not in accounted.call("sacct", "-X", "-j", job, "--noheader", "--format=AllocTRES%200")


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
