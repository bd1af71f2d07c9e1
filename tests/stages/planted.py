"""Ways to break a finished run, and what verify is to say of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from safetensors.numpy import load, save
from tiny_run import TinyRun

from isofield.geometry import Roi
from isofield.omezarr.reading import read_region
from isofield.omezarr.store import shard_path, write_shard
from isofield.records import read_json, sealed, write_json
from isofield.shardrecords import ShardRecords, shard_key

SHARD, COARSE = Roi((0, 32, 0), (32, 32, 32)), Roi((0, 0, 0), (24, 32, 32))
"""A shard of level 0, made by blend job 0; the one shard of level 1."""
IMAGE, FIELDS = "isotropic.ome.zarr", "fields/{fit}"
LABELS = f"{IMAGE}/labels/origin"
SHARD_FILE, COARSE_FILE = f"{IMAGE}/0/c/0/1/0", f"{IMAGE}/1/c/0/0/0"


@dataclass(frozen=True)
class Planted:
    """break_it, and of the finding that follows: check, words, the blocks it names; how many are fitted once more."""

    break_it: Callable[[TinyRun], None]
    check: str
    words: str
    blocks: tuple[int, ...] = ()
    recompute: int = 0


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[TinyRun], None]:
    def break_it(run: TinyRun) -> None:
        path = path_of(run, name)
        path.write_bytes(edit(path.read_bytes()))

    return break_it


def remove(name: str) -> Callable[[TinyRun], None]:
    return lambda run: path_of(run, name).unlink()


def path_of(run: TinyRun, name: str) -> Path:
    return run.paths.root / name.replace("{fit}", run.store.fingerprint[:16] if "{fit}" in name else "")


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: bytes(value ^ (0x10 if i == at % len(data) else 0) for i, value in enumerate(data))


def edited(edit: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def change_it(data: bytes) -> bytes:
        document = json.loads(data)
        edit(document)
        return json.dumps(sealed(document) if "checksum" in document else document).encode()

    return change_it


def transform(level: int, kind: int, key: str) -> Callable[[dict], object]:
    def edit(document: dict) -> None:
        one = document["attributes"]["ome"]["multiscales"][0]["datasets"][level]["coordinateTransformations"][kind]
        one[key][0] *= 1.001

    return edit


def other_voxel(run: TinyRun, level: int, roi: Roi, by: int, where: str = IMAGE) -> None:
    """A whole shard, well encoded, with one voxel that is off."""
    values = read_region(run.paths.root / where, level, roi)
    values[3, 2, 1] += by
    write_shard(run.paths.root / where, level, roi, values)


def left_out_chunk(run: TinyRun) -> None:
    """A shard that lacks a chunk, of which all records speak well."""
    array = zarr.open_array(run.paths.isotropic / "0", mode="r+", config={"write_empty_chunks": False})
    array[0:16, 32:48, 0:16] = 0
    vouch(run, SHARD)
    run.stage("pyramid")


def vouch(run: TinyRun, roi: Roi) -> None:
    """Records of a shard, and of its job, that fit what lies there now."""
    content = Path(shard_path(run.paths.isotropic, 0, roi)).read_bytes()
    true = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    kept, key = ShardRecords(run.paths.shards, 0), shard_key(roi, run.plan.shard_vox)
    kept.write(key, kept.read(key) | true)
    job = read_json(run.paths.blend_job(0))
    job["shards"] = [one | true if one["offset"] == list(roi.offset) else one for one in job["shards"]]
    write_json(run.paths.blend_job(0), sealed(job))


def other_field(run: TinyRun) -> None:
    """The field of block 2 is another one, and everything was made from it and says so."""
    store = run.store
    payload = store.payload(2)
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    tensors = {k: v * np.float32(30) if v.dtype == np.float32 else v for k, v in load(payload).items()}
    store.publish(store.read(2), save(tensors, header["__metadata__"]))
    remade(run)


def left_out_block(run: TinyRun) -> None:
    """Block 5 was left out as empty, though it is not."""
    store = run.store
    record = store.read(5).model_copy(update={"state": "skipped", "field_file": None, "field_bytes": 0, "field_sha256": None})
    store.publish(record, None)
    remade(run)


def remade(run: TinyRun) -> None:
    for stage in ("fit", "blend", "pyramid", "finish"):
        assert run.stage(stage) == 0


def failed_block(run: TinyRun) -> None:
    store = run.store
    store.publish(store.read(6).model_copy(update={"state": "failed"}), None)


def second_field(data: bytes) -> int:
    """Where the second field of a pack begins."""
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return 8 + int.from_bytes(data[:8], "little") + table["records"][0]["field_bytes"]


PACK_0, PACK_1 = f"{FIELDS}/blocks-0000000-0000004.pack", f"{FIELDS}/blocks-0000004-0000008.pack"
AROUND_SHARD = (0, 1, 2, 3, 4, 5, 6, 7)

PLANTED: dict[str, Planted] = {
    "a flipped bit in a chunk": Planted(change(SHARD_FILE, flipped(5000)), "shard", "a chunk cannot be decoded", AROUND_SHARD),
    "a flipped bit in a shard's index": Planted(change(SHARD_FILE, flipped(-9)), "shard", "cannot be decoded", AROUND_SHARD),
    "a shard cut off": Planted(change(SHARD_FILE, lambda d: d[:-100]), "shard", "cannot be decoded", AROUND_SHARD),
    "an empty shard": Planted(change(SHARD_FILE, lambda d: b""), "shard", "is missing, or an empty file", AROUND_SHARD),
    "a lost shard": Planted(remove(SHARD_FILE), "shard", "is missing, or an empty file", AROUND_SHARD),
    "a shard of other voxels": Planted(
        lambda run: other_voxel(run, 0, SHARD, 1), "shard", "other bytes, which can be decoded", AROUND_SHARD
    ),
    "a chunk left out": Planted(left_out_chunk, "shard", "1 of its chunks are absent and would read as 0", AROUND_SHARD),
    "a flipped bit in a coarse shard": Planted(change(COARSE_FILE, flipped(5000)), "shard", "a chunk cannot be decoded"),
    "a lost coarse shard": Planted(remove(COARSE_FILE), "shard", "is missing"),
    "a coarse voxel off by one": Planted(
        lambda run: other_voxel(run, 1, COARSE, 1), "pyramid", "not the mean of level 0 at 1 voxels, the first at (3, 2, 1)"
    ),
    "bytes among a coarse shard's chunks": Planted(
        change(COARSE_FILE, lambda d: d[:-132] + b"loose" + d[-132:]), "shard", "5 of its bytes belong to no chunk"
    ),
    "a flipped bit in a label shard": Planted(
        change(f"{LABELS}/0/c/0/1/0", flipped(60)), "shard", "is not what its record says", AROUND_SHARD
    ),
    "a coarse label off by one": Planted(
        lambda run: other_voxel(run, 1, COARSE, 1, LABELS), "pyramid", "not the highest of level 0 at 1 voxels"
    ),
    "labels of other names": Planted(
        change(f"{LABELS}/zarr.json", edited(lambda d: d["attributes"]["ome"]["image-label"]["properties"].reverse())),
        "metadata",
        "is not what labels of this image say",
    ),
    "a level of another shape": Planted(
        change(f"{IMAGE}/0/zarr.json", edited(lambda d: d["shape"].reverse())), "metadata", "shape [64, 64, 48] instead of"
    ),
    "a level of another type": Planted(
        change(f"{IMAGE}/1/zarr.json", edited(lambda d: d.update(data_type="int8"))), "metadata", 'data_type "int8" instead of'
    ),
    "a level without metadata": Planted(remove(f"{IMAGE}/1/zarr.json"), "metadata", "is missing"),
    "a wrong scale": Planted(
        change(f"{IMAGE}/zarr.json", edited(transform(1, 0, "scale"))), "metadata", "gives level 1 the scale"
    ),
    "a wrong translation": Planted(
        change(f"{IMAGE}/zarr.json", edited(transform(0, 1, "translation"))), "metadata", "gives level 0 the translation"
    ),
    "image metadata cut off": Planted(
        change(f"{IMAGE}/zarr.json", lambda d: d[:200]), "metadata", "is not the metadata of an image"
    ),
    "no image metadata": Planted(remove(f"{IMAGE}/zarr.json"), "metadata", "is missing"),
    "another fit's provenance": Planted(
        change(f"{IMAGE}/zarr.json", edited(lambda d: d["attributes"]["isofield"]["fingerprints"].update(fit="f" * 64))),
        "metadata",
        "made from fit ffffffffffff instead of",
    ),
    "another prior's provenance": Planted(
        change(f"{IMAGE}/zarr.json", edited(lambda d: d["attributes"]["isofield"]["fingerprints"].update(prior="f" * 64))),
        "metadata",
        "made from prior ffffffffffff instead of",
    ),
    "a flipped bit in a field": Planted(
        change(PACK_0, lambda d: flipped(second_field(d) + 700)(d)), "field", "the field is not what its record says", (1,)
    ),
    "a pack without its table": Planted(
        change(PACK_1, lambda d: d[:8] + b"!" + d[9:]), "field", "table of contents cannot be read", (4, 5, 6, 7)
    ),
    "a lost pack": Planted(remove(PACK_1), "field", "is gone, the records of these blocks with it", (4, 5, 6, 7)),
    "a failed block": Planted(failed_block, "coverage", "1 of the job's 4 blocks are failed", (6,)),
    "a record of another fit": Planted(
        change("jobs/fit-1.json", edited(lambda d: d.update(fingerprint="0" * 64))), "record", "is of the fit 000000000000"
    ),
    "a record cut off": Planted(change("jobs/blend-1.json", lambda d: d[:40]), "record", "is not valid JSON"),
    "a record without one of its shards": Planted(
        change("jobs/blend-0.json", edited(lambda d: d["shards"].pop(1))), "coverage", "without those at (0, 0, 32)"
    ),
    "a shard made from other fields": Planted(
        change("jobs/blend-0.json", edited(lambda d: d["shards"][2].update(fingerprint="0" * 64))), "record", "", AROUND_SHARD
    ),
    "lost shard records": Planted(remove("shards/job-0.json"), "record", "own record is gone or damaged", AROUND_SHARD),
    "a record of the image that was cut off": Planted(
        change("jobs/finish.json", lambda d: d[:30]), "record", "is not valid JSON"
    ),
    "a lost job record": Planted(remove("jobs/pyramid-0.json"), "record", "does not exist"),
    "a flipped bit in the prior": Planted(change("prior/prior.safetensors", flipped(-40)), "prior", "other bytes"),
    "a table cut off": Planted(change("blocks.parquet", lambda d: d[:300]), "file", "cannot be read"),
    "a plan cut off": Planted(change("plan.json", lambda d: d[:300]), "plan", "is not valid JSON"),
    "a stray shard": Planted(
        lambda run: (run.paths.isotropic / "0/c/0/1/9").write_bytes(b"stray"), "stray", "belongs to no shard"
    ),
    "a field that was not fitted": Planted(other_field, "recompute", "differs from the image by", (2,), recompute=8),
    "a block left out": Planted(left_out_block, "recompute", "there is something to fit", (5,), recompute=8),
}
