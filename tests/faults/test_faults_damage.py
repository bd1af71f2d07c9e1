"""Files cut off, emptied or with a flipped bit: noticed by whoever reads them, and after a rerun all bytes are as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faulty_run import STAGES, difference
from ledger import CLEAR, SAME

from isofield.config import section_mark
from isofield.plan import Plan
from isofield.recovery import withdraw_false_records
from isofield.stages import SECTIONS_READ

# What is damaged: its name in the table -> the file, the moment before this stage, the first stage that reads it then.
FILES = {
    "plan": ("plan.json", "train", "train"),
    "table of blocks": ("blocks.parquet", "fit", "fit"),
    "prior checkpoint": ("prior/prior.safetensors", "fit", "fit"),
    "facts of the prior": ("prior/prior.json", "finish", "finish"),
    "training state": ("prior/training.safetensors", "canvas", "train"),
    "pack of fields": ("fields/*/blocks-0000004-0000008.pack", "blend", "blend"),
    "name of the fit": ("fields/current.json", "blend", "blend"),
    "records of shards": ("shards/job-0.json", "pyramid", "blend"),
    "record of a blend job": ("jobs/blend-1.json", "measure", "measure"),
    "shard": ("isotropic.ome.zarr/0/c/0/1/0", "pyramid", "pyramid"),
    "metadata of a level": ("isotropic.ome.zarr/0/zarr.json", "blend", "blend"),
    "metadata of the image": ("isotropic.ome.zarr/zarr.json", "finish", "finish"),
    "metrics": ("metrics.json", "report", "report"),
    "table of metrics": ("metrics.parquet", "report", "report"),
}


def damage(file: Path, how: str, dice) -> None:
    data = bytearray(file.read_bytes())
    if how == "cut off":
        data = data[: dice.randrange(1, len(data))]
    elif how == "emptied":
        data = bytearray()
    else:
        at = dice.randrange(len(data))
        data[at] ^= 1 << dice.randrange(8)
        print("flipped at", at)
    file.write_bytes(data)


def made_again(run, undisturbed, file: Path, reader: str) -> bool:
    """Run everything up to `reader` again, doing what messages ask for; whether any message was needed."""
    asked = False
    for _ in range(3):
        for stage in STAGES[: STAGES.index(reader) + 1]:
            ended = run.stage(stage)
            if ended.status:
                assert ended.clear, ended.text
                asked = True
                print(ended.text)
                if "Delete it" in ended.text or "Move it away" in ended.text:
                    target = file.parent if "Move it away" in ended.text and file.name == "zarr.json" else file
                    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
                break
        else:
            break
    expected = undisturbed.digests[undisturbed.after(reader)]
    wrong = [name for name in difference(run.digest(), expected) if name in expected]
    assert wrong == []
    return asked


@pytest.mark.faults
@pytest.mark.parametrize("how", ["cut off", "emptied", "bit flipped"])
@pytest.mark.parametrize("what", FILES)
def test_a_damaged_file_is_noticed_and_made_again(run, undisturbed, dice, ledger, what, how):
    pattern, moment, reader = FILES[what]
    run.restore(undisturbed.before[moment])
    (file,) = run.root.glob(pattern)
    damage(file, how, dice)
    first = run.stage(reader)
    expected = undisturbed.digests[undisturbed.after(reader)]
    if first.status:
        assert first.clear, first.text
        print(first.text)
    else:
        # Nothing was said: then it must have been healed, or what was damaged changes nothing that is made from it.
        made = run.digest()
        assert [n for n in difference(made, expected) if n in expected and not file.match(n)] == [], "it went unnoticed"
    # What heals itself as it is read is as it was; all else is made again by what makes it.
    whole = not difference(run.digest(), expected)
    asked = not whole and made_again(run, undisturbed, file, reader)
    ledger.note(f"file damaged: {what}", reader, CLEAR if first.status or asked else SAME)


@pytest.mark.faults
@pytest.mark.parametrize("how", ["cut off", "emptied", "bit flipped", "of another configuration"])
@pytest.mark.parametrize("what", ["json", "safetensors"])
def test_a_damaged_loose_block_is_fitted_again(run, undisturbed, dice, ledger, what, how):
    run.restore(undisturbed.before["fit"])
    assert run.stage("fit", files=["fields/*/block-*.json", 3], signal="SIGKILL").killed
    first = min(run.root.glob(f"fields/*/block-*.{what}"))
    if how == "of another configuration":
        if what == "safetensors":
            first.write_bytes(max(run.root.glob(f"fields/*/block-*.{what}")).read_bytes())
        else:
            text = first.read_text()
            mark = run.store.fingerprint
            first.write_text(text.replace(mark, mark[::-1]))
    else:
        damage(first, how, dice)
    ended = run.stage("fit")
    assert ended.status == 0, ended.text
    assert difference(run.digest(), undisturbed.digests["blend"]) == []
    ledger.note(f"file damaged, or of another configuration: loose {'record' if what == 'json' else 'field'}", "fit", SAME)


@pytest.mark.faults
@pytest.mark.parametrize("how", ["cut off", "emptied", "bit flipped"])
@pytest.mark.parametrize("name", ["plan.json", "prior/prior.json", "jobs/fit-1.json", "jobs/blend-0.json"])
def test_the_workflow_withdraws_a_damaged_record_when_it_starts(run, undisturbed, dice, ledger, name, how):
    run.restore(undisturbed.before["end"])
    config, paths = run.config, run.paths
    marks = {stage: section_mark(config.section_json(*names)) for stage, names in SECTIONS_READ.items()}
    identity = Plan.load(paths.plan).source["identity"]
    assert withdraw_false_records(paths, marks, identity, remove=False) == []
    damage(run.root / name, how, dice)
    assert Path(name).name in withdraw_false_records(paths, marks, identity, remove=False)
    ledger.note("file damaged before the workflow starts", name, "withdrawn, to be made again")
