"""A clean run passes; each of many planted faults is named, and repaired to the byte; nothing sound is touched."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import PLANTED, SHARD, SHARD_FILE, change, flipped
from safetensors.numpy import load, save
from tiny_run import TinyRun, times

from isofield.blend import Windows
from isofield.cli import main
from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.omezarr.canvas import canvas_files, create_canvas
from isofield.omezarr.pyramid import downsample_shard, level_shards
from isofield.omezarr.readback import Level
from isofield.omezarr.store import write_shard
from isofield.recovery import withdraw_false_records
from isofield.shardrecords import ShardRecords
from isofield.source import open_source
from isofield.stages.blending import BlockRenderer, blend_shard
from isofield.stages.blocks_io import MeasuredBlocks
from isofield.stages.device import choose_device
from isofield.stages.reading_back import drawn
from isofield.storage.place import place_of
from isofield.verify.expected import Vouched
from isofield.verify.image import ImageCheck


def verify(run: TinyRun, *options: str, status: int, recompute: int = 0, capsys=None) -> dict:
    """verify.json, which is what is printed."""
    capsys.readouterr()
    assert main(["verify", str(run.paths.root), "--json", "--recompute", str(recompute), *options]) == status
    printed = json.loads(capsys.readouterr().out)
    written = json.loads(run.paths.verification.read_bytes())
    assert printed.items() <= written.items()
    return printed


def again(run: TinyRun) -> None:
    """What the workflow would do: withdraw false records, then run what has no record or follows from what ran."""
    withdraw_false_records(run.paths)
    paths, ran = run.paths, False
    if not (paths.plan.exists() and paths.blocks.exists()):
        assert run.stage("plan") == 0
    if not (paths.prior.exists() and paths.prior_facts.exists()):
        assert run.stage("train") == 0
    plan = run.plan
    steps = [("canvas", None, paths.canvas), *(("fit", j, paths.fit_job(j)) for j in range(plan.n_fit_jobs))]
    steps += [("blend", j, paths.blend_job(j)) for j in range(plan.n_blend_jobs)]
    for stage, job, record in [*steps, ("pyramid", 0, paths.pyramid_job(0)), ("finish", None, paths.finish)]:
        if ran or not record.exists():
            ran = True
            assert run.stage(stage, job) == 0, stage


def image(run: TinyRun) -> dict[str, bytes]:
    root = run.paths.isotropic
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_clean_run_passes_and_nothing_of_it_is_touched(run, capsys):
    before = times(run.paths.root)
    found = verify(run, "--repair", status=0, recompute=8, capsys=capsys)
    assert (found["findings"], found["skipped"], found["repaired"], found["notes"]) == ([], [], [], [])
    checked = found["checked"]
    assert (checked["n_shards"], checked["n_decoded"], checked["n_compared_vox"]) == (9, 9, 24 * 32 * 32)
    assert checked["image_mb"] == pytest.approx((48 * 64 * 64 + 24 * 32 * 32) / 1e6)
    assert checked["mb_per_s"] > 0
    assert (checked["blocks"], checked["recomputed"], checked["recomputed_equal"]) == ({"done": 8}, list(range(8)), 8)
    assert len(checked["validators"]) == 2
    after = times(run.paths.root)
    assert {name for name in after if after[name] != before.get(name)} == {"verify.json"}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_is_named_and_mended_to_the_byte(run, finished, capsys, name):
    planted = PLANTED[name]
    planted.break_it(run)
    found = verify(run, status=1, recompute=planted.recompute, capsys=capsys)
    assert found["findings"], found
    first = found["findings"][0]
    assert {one["check"] for one in found["findings"]} == {planted.check}, found["findings"]
    assert any(planted.words in one["what"] for one in found["findings"]), found["findings"]
    assert tuple(first["blocks"]) == planted.blocks
    if planted.check == "shard":
        assert (len(found["findings"]), first["level"]) == (1, 0 if planted.blocks else 1)
        assert first["file"].endswith("/0/c/0/1/0" if planted.blocks else "/1/c/0/0/0")
        assert first["offset"] == ([0, 32, 0] if planted.blocks else [0, 0, 0])
    sound = {file: when for file, when in times(run.paths.root).items() if not file.startswith(("verify.json", "jobs/"))}
    mended = verify(run, "--repair", status=1, recompute=planted.recompute, capsys=capsys)
    assert mended["repaired"]
    assert not run.paths.verified.exists()
    left = times(run.paths.root)
    changed = {file for file, when in sound.items() if left.get(file) != when}
    assert len(changed) <= 3, changed
    again(run)
    assert image(run) == image(finished)
    assert run.fields() == finished.fields()
    assert verify(run, status=0, recompute=planted.recompute, capsys=capsys)["ok"]


def test_a_run_without_fields_is_verified_and_mended(finished, tmp_path, capsys):
    run = finished.copied_to(tmp_path / "copy").changed(run={"keep_fields": False})
    assert run.stage("tidy") == 0
    found = verify(run, status=0, recompute=1, capsys=capsys)
    assert found["checked"]["recomputed_equal"] == 1
    assert "the fields of 2 of 2 fit jobs were removed after blending" in found["notes"]
    change(SHARD_FILE, flipped(5000))(run)
    kept = next(run.store.folder.glob("blocks-0000004-*.records"))
    kept.write_bytes(kept.read_bytes()[:50])
    found = verify(run, "--repair", status=1, capsys=capsys)["findings"]
    assert {(one["check"], tuple(one["blocks"])) for one in found} == {("shard", tuple(range(8))), ("field", (4, 5, 6, 7))}
    again(run)
    assert image(run) == image(finished)
    assert verify(run, status=0, capsys=capsys)["ok"]


def test_a_bound_on_what_is_read_is_kept_and_said(run, capsys):
    change(SHARD_FILE, flipped(5000))(run)
    found = verify(run, "--max-vox", "0", status=0, capsys=capsys)
    assert (found["checked"]["n_decoded"], found["checked"]["n_shards"]) == (0, 9)
    assert "what 9 of 9 shards hold" in found["skipped"][0]
    (run.paths.root / SHARD_FILE).unlink()
    (one,) = verify(run, "--max-vox", "0", status=1, capsys=capsys)["findings"]
    assert "is missing" in one["what"]


def test_what_is_drawn_is_a_share_and_the_same_every_time():
    chosen, other = drawn(0.2, 7, "image"), drawn(0.2, 8, "image")
    sample = {n for n in range(5000) if chosen(1, Roi((n, 0, 0), (1, 1, 1)))}
    assert 850 < len(sample) < 1150
    assert sample == {n for n in range(5000) if chosen(1, Roi((n, 0, 0), (1, 1, 1)))}
    assert sample != {n for n in range(5000) if other(1, Roi((n, 0, 0), (1, 1, 1)))}
    assert all(drawn(1.0, 7, "image")(n) for n in range(100))


@pytest.mark.parametrize("lacking", [{"source": {"path": "gone.tif"}}, {"run": {"device": "cuda:9"}}], ids=["source", "device"])
def test_what_blocks_cannot_be_fitted_from_here_is_said(finished, tmp_path, capsys, lacking):
    run = finished.copied_to(tmp_path / "copy").changed(**lacking)
    assert run.stage("verify") == 0
    said = capsys.readouterr().out
    assert "nothing is wrong" in said
    assert "not checked: blocks computed anew" in said
    assert ("gone.tif" if "source" in lacking else "cuda:9") in said


def test_where_no_run_is_nothing_is_written(tmp_path, capsys):
    for folder in (tmp_path / "no" / "run", tmp_path):
        assert main(["verify", str(folder)]) == 2
    assert "plan.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def float_image(run: TinyRun, folder, spoil, **output) -> list:
    """Findings of an image of floating numbers, of which `spoil` changes some of level 0 before it is written."""
    plan = run.plan.model_copy(update={"dtype": "float32", "shard_vox": output.get("shard_vox", run.plan.shard_vox)})
    spec = run.config.output.model_copy(update=output)
    where = {"voxel_size_nm": (8, 8, 8)}
    create_canvas(folder, plan.shape, "float32", spec, **where)
    place = place_of(folder, "output.path")
    files = canvas_files(plan.shape, "float32", spec, **where)
    levels = [Level(place, number, files) for number in range(len(files) - 1)]
    values = np.random.default_rng(0).normal(size=plan.shape).astype(np.float32)
    vouched, bounds = Vouched(plan), plan.block_grid.bounds
    own = [level_shards(level.shape, bounds, number, plan.shard_vox) for number, level in enumerate(levels)]
    for roi in own[0]:
        write_shard(folder, 0, roi, values[roi.slices])
    for roi in own[1]:
        downsample_shard(folder, 1, roi)
    spoil(values)
    for roi in own[0]:
        shard = write_shard(folder, 0, roi, values[roi.slices])
        vouched.put(roi, {"sha256": shard.sha256, "bytes": shard.n_bytes})
    looked = ImageCheck(plan, run.paths, levels, vouched, lambda *names: True).run(2)
    return [(one.check, one.level, one.what) for part in looked for one in part.findings]


def spoil_nan(values):
    values[5, 6, 7] = np.nan


def spoil_number(values):
    values[33, 33, 33] += 1


@pytest.mark.parametrize("shard_vox", [32, 33])
def test_floating_numbers_and_shards_of_odd_sides(finished, tmp_path, shard_vox):
    output = {"shard_vox": shard_vox, "chunk_vox": shard_vox // 3 if shard_vox == 33 else 16}
    assert float_image(finished, tmp_path / "sound", lambda values: None, **output) == []
    (nan,) = float_image(finished, tmp_path / "nan", spoil_nan, **output)
    assert nan == ("shard", 0, "holds 1 values that are not finite, one at (5, 6, 7)")
    (mean,) = float_image(finished, tmp_path / "mean", spoil_number, **output)
    assert mean == ("pyramid", 1, "is not the mean of level 0 at 1 voxels, the first at (16, 16, 16)")


def test_values_that_are_no_numbers_are_not_written(run):
    store = run.store
    payload = store.payload(2)
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])["__metadata__"]
    tensors = {name: value.copy() for name, value in load(payload).items()}
    last = next(name for name in sorted(tensors, reverse=True) if tensors[name].dtype == np.float32)
    tensors[last][...] = np.nan
    store.publish(store.read(2), save(tensors, header))
    before = (run.paths.root / SHARD_FILE).read_bytes()
    renderer = BlockRenderer(store, MeasuredBlocks(open_source(run.config.source), run.plan), choose_device("cpu", 1))
    with pytest.raises(InputError, match="blocks: '2': have values that are no finite numbers"):
        blend_shard(
            SHARD,
            Windows(run.plan.block_grid, run.plan.overlap_vox),
            renderer,
            run.plan,
            run.paths,
            ShardRecords(run.paths.shards, 0),
        )
    assert (run.paths.root / SHARD_FILE).read_bytes() == before
    again(run)
    assert set(run.states().values()) == {"done"}
