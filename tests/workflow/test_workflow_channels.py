"""Several channels of a real volume through the workflow: one image, each channel as it would be alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import tifffile
import yaml
import yaozarrs

from conftest import Workflow
from isofield.paths import RunPaths
from isofield.status import fitted_store

DATA = Path(os.environ.get("ISOFIELD_DATA") or Path(__file__).parents[3] / "shared" / "data")
CONFIG = {
    "run": {"name": "nucleus", "threads_per_job": 1, "device": "cpu"},
    "source": {"path": "nucleus.ome.tif", "channel": "all"},
    "blocks": {"write_vox": 32, "context_vox": 8, "overlap_vox": 4},
    "prior": {"channels": [8, 8], "steps": 10, "batch": 8, "patch_vox": 32, "warmup_steps": 2},
    "field": {"strides_vox": [2, 4], "features": [4, 4], "hidden": 8},
    "fit": {"steps": 60, "blocks_per_job": 8, "batch_blocks": 1},
    "output": {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 8, "pyramid_min_vox": 32},
    "quality": {"n_spectrum_cubes": 2, "spectrum_cube_vox": 32, "seam_reach_vox": 12},
    "report": {"n_slices": 1},
    "verify": {"recompute_blocks": 0},
}
UNIT_RULES = {"plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure", "report", "verify", "tidy"}


def workflow(folder: Path, programs: Path) -> Workflow:
    """The middle of a real nucleus of two channels, its sections taken for twice as thick as they are."""
    whole = DATA / "nucleus_two_channels.ome.tif"
    if not whole.is_file():
        pytest.skip(f"no nucleus_two_channels.ome.tif in the data folder {DATA} (set ISOFIELD_DATA)")
    part = tifffile.imread(whole)[12:28, :, 40:88, 40:88]
    sizes = {"PhysicalSizeZ": 1.024, "PhysicalSizeY": 0.512, "PhysicalSizeX": 0.512, "Channel": {"Name": ["DNA", "lamin"]}}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tifffile.imwrite(folder / "nucleus.ome.tif", part, metadata={"axes": "ZCYX", **sizes, **units}, ome=True)
    return Workflow(folder, yaml.safe_load(yaml.safe_dump(CONFIG)), programs)


@pytest.fixture(scope="module")
def both(tmp_path_factory, programs) -> Workflow:
    """A finished run of both channels. Tests leave it finished."""
    made = workflow(tmp_path_factory.mktemp("both"), programs)
    made.snakemake()
    return made


@pytest.fixture
def fresh_nucleus(tmp_path, programs) -> Workflow:
    return workflow(tmp_path, programs)


def files_of(image: Path, level: int, channel: str = "") -> dict[str, bytes]:
    root = image / str(level) / "c" / channel
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_both_channels_end_in_one_image(both):
    assert yaozarrs.validate_zarr_store(str(both.run / "isotropic.ome.zarr")) is not None
    for name in ("jobs/join.json", "report/index.html", "neuroglancer.json", "logs/join.log", "benchmarks/overview.tsv"):
        assert (both.run / name).is_file(), name
    for channel in (0, 1):
        for name in (
            "plan.json",
            "prior/prior.safetensors",
            "metrics.json",
            "report/index.html",
            "verify.json",
            "logs/fit-0.log",
        ):
            assert (both.run / f"channel-{channel}" / name).is_file(), name
        assert json.loads((both.run / f"channel-{channel}" / "verify.json").read_text())["ok"]
    assert "Nothing to be done" in both.snakemake()


@pytest.mark.slow
def test_a_channel_is_what_a_run_of_it_alone_makes(both, fresh_nucleus):
    for channel in (0, 1):
        fresh_nucleus.config["run"]["name"] = f"alone-{channel}"
        fresh_nucleus.config["source"]["channel"] = channel
        # Where a volume lies does not matter, when it was written does.
        shutil.copy2(both.folder / "nucleus.ome.tif", fresh_nucleus.folder / "nucleus.ome.tif")
        fresh_nucleus.snakemake(f"results/alone-{channel}/jobs/finish.json")
        alone = fresh_nucleus.run / "isotropic.ome.zarr"
        for level in (0, 1):
            assert files_of(both.run / "isotropic.ome.zarr", level, str(channel)) == files_of(alone, level)
    assert files_of(alone, 0)


def test_what_is_lost_of_one_channel_is_made_again_and_the_other_left_alone(both):
    image, other = both.run / "isotropic.ome.zarr", both.run / "channel-0"
    lost = image / "0" / "c" / "1" / "0" / "1" / "1"
    content, before = (
        lost.read_bytes(),
        {p: p.stat().st_mtime_ns for p in [*other.rglob("*"), *(image / "0" / "c" / "0").rglob("*")]},
    )
    lost.unlink()
    said = both.snakemake()
    assert lost.read_bytes() == content
    jobs = [part for part in re.split(r"^(?=(?:local)?rule \w+:)", said, flags=re.MULTILINE) if "rule " in part[:10]]
    ran = [(re.search(r"rule (\w+):", job)[1], job) for job in jobs]
    assert {"fit", "blend"} <= {rule for rule, job in ran if "wildcards: channel=1" in job}
    # The image is verified as a whole again; nothing of the other channel is made again.
    assert {rule for rule, job in ran if "wildcards: channel=0" in job} <= {"verify", "tidy"}
    kept = [p for p in before if p.is_file() and p.parent.name not in ("logs", "benchmarks") and p.stem not in ("verify", "tidy")]
    assert [p for p in kept if p.stat().st_mtime_ns != before[p] and p.name != "run.lock"] == []
    assert len(kept) > 20


@pytest.mark.slow
def test_a_killed_job_of_one_channel_is_ended_later_and_the_other_left_alone(both, fresh_nucleus):
    shutil.copy2(both.folder / "nucleus.ome.tif", fresh_nucleus.folder / "nucleus.ome.tif")
    other, one = (RunPaths(fresh_nucleus.run / f"channel-{channel}") for channel in (0, 1))
    fresh_nucleus.config["run"]["keep_fields"] = True
    fresh_nucleus.snakemake("results/nucleus/channel-0/metrics.json")
    before = {path: path.stat().st_mtime_ns for path in other.root.rglob("*.json")}

    def done() -> int:
        known = one.current_fit.exists()
        return sum(record["state"] == "done" for _, record in fitted_store(one).records()) if known else 0

    fresh_nucleus.kill_job_when(r"isofield fit .*channel-1", lambda: done() >= 1)
    assert 1 <= done() < 4, "the job was not killed in the middle"
    survivors = {index: record["seconds"] for index, record in fitted_store(one).records()}
    fresh_nucleus.snakemake()
    again = {index: record["seconds"] for index, record in fitted_store(one).records()}
    assert {index: again[index] for index in survivors} == survivors
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for level, channel in ((0, "0"), (0, "1"), (1, "0"), (1, "1")):
        made = files_of(fresh_nucleus.run / "isotropic.ome.zarr", level, channel)
        assert made == files_of(both.run / "isotropic.ome.zarr", level, channel)
        assert made


def test_a_shared_prior_is_waited_for(fresh_nucleus):
    assert fresh_nucleus.planned() == UNIT_RULES | {"join", "overview"}
    text = fresh_nucleus.snakemake("--dry-run", "results/nucleus/channel-0/prior/prior.safetensors")
    assert "channel-1" not in text
    fresh_nucleus.config["prior"]["channel"] = 1
    text = fresh_nucleus.snakemake("--dry-run", "results/nucleus/channel-0/prior/prior.safetensors")
    assert "results/nucleus/channel-1/prior/prior.safetensors" in text
    assert text.count("rule train:") == 2


def test_a_preview_is_of_every_channel(fresh_nucleus):
    text = fresh_nucleus.snakemake("--dry-run", "preview")
    assert text.count("rule preview_run:") == 2
    for channel in (0, 1):
        assert f"results/nucleus/channel-{channel}/preview/index.html" in text


def test_channels_that_are_not_there_are_refused_while_the_workflow_is_read(fresh_nucleus):
    fresh_nucleus.config["source"]["channel"] = [0, 2]
    assert "has 2 channels, counted from 0, not 2" in fresh_nucleus.snakemake("--dry-run", check=False)
    fresh_nucleus.config["source"]["channel"] = 1
    assert "channel-" not in fresh_nucleus.snakemake("--dry-run")
    fresh_nucleus.config["source"]["channel"] = None
    assert "2 channels and none is named" in fresh_nucleus.snakemake("--dry-run", check=False)


def test_one_folder_does_not_hold_both_kinds(fresh_nucleus):
    (fresh_nucleus.run / "channel-0").mkdir(parents=True)
    (fresh_nucleus.run / "channel-0" / "plan.json").write_text("{}")
    fresh_nucleus.config["source"]["channel"] = 0
    assert "holds a run of several channels" in fresh_nucleus.snakemake("--dry-run", check=False)
