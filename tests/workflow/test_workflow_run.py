"""The workflow end to end, and what changes make it do again."""

from __future__ import annotations

import copy
import json

import pytest

from isofield.cli import main
from promised import CONTRACT


@pytest.fixture
def changed(finished):
    """The finished run with a configuration that a test may edit; the original is put back."""
    before = copy.deepcopy(finished.config)
    yield finished
    finished.config = before


def test_a_run_leaves_everything_that_was_promised(finished):
    assert [name for name in CONTRACT if not (finished.run / name).exists()] == []
    metrics = json.loads((finished.run / "metrics.json").read_text())
    for method in ("isotropic", "nearest", "linear", "cubic"):
        assert {"psnr_db", "ssim"} <= metrics[method].keys()
    assert {"residual_rms", "seam_score", "clipped_fraction"} <= metrics.keys()
    assert metrics["n_blocks"] == {"done": 8}
    # A prior of a few seconds is not good, but what it was distilled into must not be worse than what it was built over.
    assert metrics["isotropic"]["psnr_db"] > metrics["cubic"]["psnr_db"]


def test_every_rule_has_a_log_and_a_benchmark(finished):
    stages = {"plan", "train", "canvas", "fit-0", "fit-1", "blend-0", "blend-1", "pyramid-0", "finish"}
    stages |= {"measure", "report", "verify", "tidy"}
    assert {p.stem for p in (finished.run / "logs").iterdir()} == stages
    assert {p.stem for p in (finished.run / "benchmarks").iterdir()} == stages
    assert "150/150 steps" in (finished.run / "logs" / "train.log").read_text()


def test_running_again_does_nothing(finished):
    before = finished.fitted()
    assert "Nothing to be done" in finished.snakemake()
    assert finished.fitted() == before


@pytest.mark.parametrize(
    ("section", "key", "value", "rules"),
    [
        ("report", "n_slices", 2, {"report"}),
        ("quality", "n_spectrum_cubes", 4, {"measure", "report", "tidy"}),
        ("fit", "steps", 121, {"fit", "blend", "pyramid", "finish", "measure", "report", "verify", "tidy"}),
        ("prior", "steps", 151, {"train", "fit", "blend", "pyramid", "finish", "measure", "report", "verify", "tidy"}),
    ],
)
def test_a_change_redoes_only_what_reads_it(changed, section, key, value, rules):
    changed.config.setdefault(section, {})[key] = value
    files = {p: p.stat().st_mtime_ns for p in changed.run.rglob("*") if p.is_file()}
    assert changed.planned() == rules
    assert {p: p.stat().st_mtime_ns for p in changed.run.rglob("*") if p.is_file()} == files, "a dry run changed something"


def test_a_new_block_grid_does_not_retrain_the_prior(changed):
    changed.config["blocks"]["context_vox"] = 12
    planned = changed.planned()
    assert "train" not in planned
    assert {"plan", "fit", "blend"} <= planned


def test_status_counts_the_blocks(finished, capsys):
    assert main(["status", str(finished.run), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["done"], status["failed"], status["skipped"], status["missing"]) == (8, 0, 0, 0)


def test_keys_can_be_overridden_on_the_command_line(fresh):
    text = fresh.snakemake("--dry-run", "--config", "run={name: renamed}", "fit={blocks_per_job: 2}")
    assert "results/renamed/plan.json" in text
    assert text.count("rule fit:") == 4


def test_input_that_cannot_be_used_is_refused_before_anything_runs(fresh):
    fresh.config["source"] = {"path": "no/such/volume.tif"}
    text = fresh.snakemake(check=False)
    assert "no/such/volume.tif" in text
    assert "source.path" in text
    fresh.config["source"] = {"path": "phantom:tissue", "voxel_siez_nm": [8, 8, 8]}
    assert "source.voxel_size_nm" in fresh.snakemake(check=False)
    assert not (fresh.folder / "results").exists()
