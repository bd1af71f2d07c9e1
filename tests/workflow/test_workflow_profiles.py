"""The profiles say only what Snakemake knows; facts of one site stand in none of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

PROFILES = Path(__file__).parents[2] / "workflow" / "profiles"
SLURM = PROFILES / "slurm" / "profile.yaml"
SITE = ("slurm_account", "slurm_partition", "constraint", "qos", "slurm_extra", "gpu_model")


def test_without_a_word_the_default_profile_is_used(fresh):
    assert "profiles/default" in fresh.snakemake("--dry-run")


def test_the_slurm_profile_takes_its_place_and_is_understood(fresh):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    said = fresh.snakemake("--dry-run", "--workflow-profile", str(SLURM.parent))
    assert "profiles/default" not in said
    assert "rule fit:" in said


def test_a_key_that_snakemake_does_not_know_is_refused(fresh, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    copy = tmp_path / "profile" / "profile.yaml"
    copy.parent.mkdir()
    shutil.copy(SLURM, copy)
    copy.write_text(copy.read_text() + "slurm-requeued: true\n")
    assert "slurm-requeued" in fresh.snakemake("--dry-run", "--workflow-profile", str(copy.parent), check=False)


def test_facts_of_a_site_are_comments():
    profile = yaml.safe_load(SLURM.read_text())
    assert not profile["default-resources"].keys() & set(SITE)
    assert "set-resources" not in profile
    commented = yaml.safe_load(SLURM.read_text().replace("  # slurm_", "  slurm_"))
    assert commented["default-resources"].keys() & set(SITE), "the comments do not show where they would stand"
