"""What a run has done, told from its records; job records that claim too much are withdrawn, and no others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest

from isofield.blockrecords import BlockRecord
from isofield.errors import InputError
from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.records import fingerprint, write_bytes_atomic, write_json
from isofield.recovery import withdraw_false_records
from isofield.status import current_store, run_status

FINGERPRINT = fingerprint("a fit")
N_BLOCKS = 8
SIDE = 16
STATES = ("done", "done", "skipped", "done", "failed", "done")
"""Of blocks 0 to 5; 6 and 7 have no record."""

PLAN = Plan(
    made_from="mark",
    run_name="small",
    source={"uri": "phantom:tissue"},
    ratio="8",
    operator="section",
    fwhm_vox=None,
    roi=((0, 0, 0), (4, 32, 32)),
    voxel_size_nm=4.0,
    origin_nm=(0.0, 0.0, 0.0),
    shape=(32, 32, 32),
    dtype="uint8",
    intensity={"low": 0.0, "high": 255.0},
    grid={"core": (16, 16, 16), "context": (4, 4, 4), "margin": (4, 2, 2)},
    overlap_vox=2,
    n_blocks=N_BLOCKS,
    n_empty_blocks=1,
    n_fit_jobs=4,
    n_blend_jobs=2,
    n_shards=8,
    shard_vox=SIDE,
    has_truth=False,
    projected={},
    fingerprints={"volume": "v", "geometry": "g"},
)


def payload(index: int) -> bytes:
    return bytes([index]) * (100 + index)


def publish(store: FieldStore, index: int, state: str) -> None:
    message = {"failed": "diverged in 2 attempts", "skipped": "no contrast"}.get(state)
    record = BlockRecord(block_id=index, state=state, fingerprint=store.fingerprint, seconds=2.0 + index, message=message)
    store.publish(record, payload(index) if state == "done" else None)


@pytest.fixture
def paths(tmp_path):
    """A run that was planned and whose fit is under way."""
    paths = RunPaths(tmp_path / "small")
    write_json(paths.plan, PLAN)
    write_json(paths.current_fit, {"fingerprint": FINGERPRINT})
    store = FieldStore(paths.fields, FINGERPRINT)
    for index, state in enumerate(STATES):
        publish(store, index, state)
    return paths


# Status


def test_blocks_are_counted_by_state_and_the_rest_is_timed(paths):
    status = run_status(paths)
    assert (status.run, status.n_blocks) == ("small", N_BLOCKS)
    assert (status.done, status.failed, status.skipped, status.missing) == (4, 1, 1, 2)
    assert status.seconds_per_block == pytest.approx((2 + 3 + 5 + 7) / 4)
    assert status.eta_s == pytest.approx(3 * status.seconds_per_block)
    assert (status.failed_blocks, status.messages) == ((4,), ("diverged in 2 attempts",))


def test_status_reads_well_and_is_json(paths):
    status = run_status(paths)
    text = "\n".join(status.lines())
    for part in ("small: 8 blocks", "done    4", "failed  1", "skipped 1", "missing 2", "block 4: diverged in 2 attempts"):
        assert part in text
    assert "4.2 s per block" in text
    assert json.loads(json.dumps(status.to_dict()))["failed"] == 1


def test_a_block_whose_field_is_gone_is_missing_whatever_its_record_says(paths):
    FieldStore(paths.fields, FINGERPRINT).loose.payload_path(1).unlink()
    status = run_status(paths)
    assert (status.done, status.missing) == (3, 3)


def test_blocks_of_another_fit_do_not_count(paths):
    write_json(paths.current_fit, {"fingerprint": fingerprint("another fit")})
    status = run_status(paths)
    assert (status.done, status.missing, status.eta_s) == (0, N_BLOCKS, None)


def test_before_the_first_fit_everything_is_missing(paths):
    shutil.rmtree(paths.fields)
    assert current_store(paths) is None
    status = run_status(paths)
    assert (status.missing, status.eta_s) == (N_BLOCKS, None)
    assert not any("left" in line for line in status.lines())


def test_a_finished_run_says_nothing_of_time_left(paths):
    store = FieldStore(paths.fields, FINGERPRINT)
    for index in (4, 6, 7):
        publish(store, index, "done")
    status = run_status(paths)
    assert (status.done, status.failed, status.missing, status.eta_s) == (7, 0, 0, 0)
    assert not any("left" in line for line in status.lines())


def test_a_folder_without_a_plan_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json"):
        run_status(RunPaths(tmp_path))


# Withdrawing

JOBS = {f"fit-{job}.json": range(2 * job, 2 * job + 2) for job in range(4)}
SHARDS = {"blend-0.json": ((0, 0, 0), (0, 0, 16)), "blend-1.json": ((16, 16, 0), (16, 16, 16))}


def shard_file(paths, offset):
    return paths.isotropic / "0" / "c" / "/".join(str(o // SIDE) for o in offset)


def labels_file(paths, offset):
    return paths.isotropic / "labels" / "origin" / shard_file(paths, offset).relative_to(paths.isotropic)


@pytest.fixture
def finished(paths):
    """The same run with every job done, as fit_job and blend_job leave it."""
    store = FieldStore(paths.fields, FINGERPRINT)
    for index in (4, 6, 7):
        publish(store, index, "done")
    for name, blocks in JOBS.items():
        write_json(paths.root / "jobs" / name, {"fingerprint": FINGERPRINT, "job": int(name[4]), "pack": store.pack(blocks)})
    for name, offsets in SHARDS.items():
        shards = []
        for offset in offsets:
            content = bytes(50 + sum(offset))
            write_bytes_atomic(shard_file(paths, offset), content)
            digest = hashlib.sha256(content).hexdigest()
            write_bytes_atomic(labels_file(paths, offset), content)
            about = {"bytes": len(content), "sha256": digest}
            shards.append({"offset": offset, "shape": (SIDE,) * 3, "side": SIDE, **about, "labels": about})
        write_json(paths.root / "jobs" / name, {"job": int(name[6]), "shards": shards})
    write_json(paths.canvas, {"levels": 2})
    write_json(paths.pyramid_job(0), {"levels": 2})
    return paths


def jobs(paths) -> set[str]:
    return {path.name for path in (paths.root / "jobs").iterdir()}


EVERYTHING = {*JOBS, *SHARDS, "canvas.json", "pyramid-0.json"}


def test_where_all_is_sound_nothing_is_withdrawn(finished):
    assert withdraw_false_records(finished) == []
    assert jobs(finished) == EVERYTHING


def newer(path, than) -> None:
    later = than.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def delete(path):
    path.unlink()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(path):
    record = path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(record + 10**10, record + 10**10))


@pytest.mark.parametrize("damage", [delete, cut_off, change_a_byte], ids=lambda f: f.__name__)
@pytest.mark.parametrize("job", [0, 1, 3])
def test_one_damaged_pack_withdraws_just_its_job(finished, damage, job):
    name = f"fit-{job}.json"
    damage(FieldStore(finished.fields, FINGERPRINT).pack_path(JOBS[name]))
    assert withdraw_false_records(finished) == [name]
    assert jobs(finished) == EVERYTHING - {name}
    assert withdraw_false_records(finished) == []


def test_a_pack_that_only_looks_newer_is_compared_and_kept(finished):
    """As after copying a run to another disk."""
    for name, blocks in JOBS.items():
        newer(FieldStore(finished.fields, FINGERPRINT).pack_path(blocks), finished.root / "jobs" / name)
    assert withdraw_false_records(finished) == []


def test_fields_that_were_tidied_away_are_as_they_should_be(finished):
    FieldStore(finished.fields, FINGERPRINT).tidy()
    assert withdraw_false_records(finished) == []
    status = run_status(finished)
    assert (status.done, status.skipped, status.missing) == (7, 1, 0)


@pytest.mark.parametrize(
    ("lost", "needed"),
    [("blend-0.json", range(4)), ("blend-1.json", range(4)), ("canvas.json", range(4)), ("pyramid-0.json", ())],
)
def test_what_must_be_blended_again_after_tidying_is_fitted_again(finished, lost, needed):
    """Blocks of 16 with an overlap of 2: shards of 16 need all 8 of them here."""
    FieldStore(finished.fields, FINGERPRINT).tidy()
    (finished.root / "jobs" / lost).unlink()
    assert withdraw_false_records(finished) == [f"fit-{job}.json" for job in needed]


def test_a_lost_shard_after_tidying_withdraws_its_job_and_the_fits_below(finished):
    FieldStore(finished.fields, FINGERPRINT).tidy()
    shard_file(finished, (0, 0, 16)).unlink()
    assert set(withdraw_false_records(finished)) == {"blend-0.json", *JOBS}


def test_a_lost_shard_with_its_fields_kept_withdraws_its_job_alone(finished):
    shard_file(finished, (0, 0, 16)).unlink()
    assert withdraw_false_records(finished) == ["blend-0.json"]


def test_all_fields_deleted_withdraws_all_fit_jobs(finished):
    shutil.rmtree(finished.fields)
    assert withdraw_false_records(finished) == sorted(JOBS)
    assert jobs(finished) == EVERYTHING - set(JOBS)


def test_the_fields_of_one_fit_deleted_withdraws_all_fit_jobs(finished):
    shutil.rmtree(FieldStore(finished.fields, FINGERPRINT).folder)
    assert withdraw_false_records(finished) == sorted(JOBS)


def test_job_records_of_an_earlier_fit_are_left_to_the_workflow(finished):
    write_json(finished.current_fit, {"fingerprint": fingerprint("another fit")})
    assert withdraw_false_records(finished) == []


@pytest.mark.parametrize(("offset", "job"), [((0, 0, 16), "blend-0.json"), ((16, 16, 0), "blend-1.json")])
@pytest.mark.parametrize("damage", ["deleted", "resized", "changed"])
@pytest.mark.parametrize("file_of", [shard_file, labels_file])
def test_one_damaged_shard_withdraws_just_its_job(finished, offset, job, damage, file_of):
    file = file_of(finished, offset)
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"more" if damage == "resized" else file.read_bytes()[:-1] + b"x")
    assert withdraw_false_records(finished) == [job]
    assert jobs(finished) == EVERYTHING - {job}


def test_the_shards_here_lie_where_the_image_has_them(tmp_path):
    """The layout the tests above assume is the one that a real image has."""
    from isofield.omezarr.canvas import create_canvas
    from isofield.omezarr.labels import create_labels, location
    from isofield.omezarr.spec import OutputSpec
    from isofield.omezarr.store import shard_path, shard_rois

    paths = RunPaths(tmp_path)
    spec = OutputSpec(chunk_vox=8, shard_vox=SIDE)
    create_canvas(paths.isotropic, (32, 32, 32), "uint8", spec, voxel_size_nm=(4.0,) * 3)
    create_labels(paths.isotropic, (32, 32, 32), spec, voxel_size_nm=(4.0,) * 3)
    for roi in shard_rois((32, 32, 32), SIDE):
        assert shard_path(paths.isotropic, 0, roi) == shard_file(paths, roi.offset)
        assert shard_path(location(paths.isotropic), 0, roi) == labels_file(paths, roi.offset)


def test_a_run_that_never_started_has_nothing_to_withdraw(tmp_path):
    assert withdraw_false_records(RunPaths(tmp_path / "new")) == []


def test_a_shard_that_was_only_touched_is_sound(finished):
    file = shard_file(finished, (16, 16, 0))
    file.write_bytes(file.read_bytes())
    assert withdraw_false_records(finished) == []
