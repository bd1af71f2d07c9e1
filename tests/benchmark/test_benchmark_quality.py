"""The benchmark of quality through the command line: its table, its pictures, what it keeps and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from isofield.cli import main
from isofield.phantom import tissue

SMALL = (
    *("prior.channels=[8,8]", "prior.batch=4", "prior.patch_vox=32"),
    *("fit.steps=8", "blocks.write_vox=32", "blocks.context_vox=8", "blocks.overlap_vox=4"),
)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "tissue.ome.tif"
    metadata = {"axes": "ZYX", **{f"PhysicalSize{a}": 10 for a in "XYZ"}, **{f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}}
    tifffile.imwrite(path, tissue((64, 96, 96), seed=3), metadata=metadata, ome=True)
    return path


def asked(volume, out, *more) -> list[str]:
    arguments = (
        *("benchmark", "quality", "--volume", volume, "--factors", "4", "--roi", "8:40,20:52,30:62", "--train-minutes", "0.02"),
        *("--out", out, "--threads", "1", *more, "--config", *SMALL),
    )
    return list(map(str, arguments))


@pytest.fixture(scope="module")
def run(volume, programs):
    def run_it(out, *more):
        command = [programs / "isofield", *asked(volume, out, *more)]
        return subprocess.run(command, cwd=volume.parent, capture_output=True, text=True, timeout=600)

    return run_it


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "table"
    done = run(out, "--methods", "cubic,ridge,slices_mean,isofield,isofield_detail")
    assert done.returncode == 0, done.stderr
    return out, done


def test_the_table_has_a_row_per_method_with_quality_and_cost(finished):
    out, done = finished
    table = pd.read_csv(out / "table.csv").set_index("method")
    assert list(table.index) == ["cubic", "ridge", "slices_mean", "isofield", "isofield_detail"]
    assert np.isfinite(table[["psnr_db", "ssim", "ssim_axial", "reconstruct_s", "mvoxel_per_s", "peak_memory_gb"]]).all().all()
    assert (table.loc[["slices_mean", "isofield"], "train_s"] > 0.5).all()
    assert table.loc["cubic", "train_s"] < 0.1
    assert table.loc["ridge", "psnr_db"] > table.loc["cubic", "psnr_db"]
    assert (out / "table.md").read_text() == done.stdout
    for name in ("x4_zx.png", "x4_zy.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_rows_are_those_of_the_volumes_that_lie_there(finished, volume):
    """The PSNR in the table is that of the stored reconstruction against the planes of the volume itself."""
    out, _ = finished
    truth = tifffile.imread(volume)[8:40, 20:52, 30:62].astype(float)
    table = pd.read_csv(out / "table.csv").set_index("method")
    for name in table.index:
        values = np.load(out / "x4" / "results" / f"{name}.npy").astype(float)
        assert table.loc[name, "psnr_db"] == pytest.approx(10 * np.log10(255**2 / np.square(values - truth).mean()))


def test_a_second_run_keeps_what_there_is_and_adds_what_is_missing(finished, run):
    out, _ = finished
    kept = {path: path.stat().st_mtime_ns for path in (out / "x4" / "results").iterdir()}
    done = run(out, "--methods", "nearest,cubic,isofield")
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(out / "table.csv")["method"]) == ["nearest", "cubic", "isofield"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # Negative control: another setting is another result.
    other = run(out, "--methods", "cubic", "--operator", "skip")
    assert other.returncode == 0, other.stderr
    assert (out / "x4" / "results" / "cubic.npy").stat().st_mtime_ns != kept[out / "x4" / "results" / "cubic.npy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "cubic,magic"), ("--methods", "magic", "cubic")),
        (("--methods", "supervised"), ("--teacher",)),
        (("--methods", "cubic", "--factors", "x"), ("--factors", "'x'")),
        (("--methods", "cubic", "--factors", "4,63"), ("factor",)),
        (("--methods", "cubic", "--roi", "1:2"), ("--roi", "1:2")),
        (("--methods", "cubic", "--train-minutes", "0"), ("--train-minutes",)),
        (("--methods", "cubic", "--volume", "nowhere.tif"), ("nowhere.tif",)),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_computed(volume, tmp_path, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(volume.parent)
    assert main(asked(volume, tmp_path / "out", *arguments)) == 2
    message = capfd.readouterr().err
    assert all(word in message for word in said), message
    assert "Traceback" not in message
    assert not list(tmp_path.rglob("table.*"))


def runs(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


def test_what_computes_ends_with_who_asked_for_it(tmp_path):
    """A killed benchmark leaves no method behind that trains for nobody."""
    command = ["sh", "-c", "echo $PPID >part; mv part pid; exec sleep 40"]
    work = (
        f"import subprocess\nfrom isofield.benchmark.quality import _in_own_process\n_in_own_process(subprocess.run, {command})\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", work], cwd=tmp_path)
    begun = time.monotonic()
    while not (tmp_path / "pid").exists() and time.monotonic() - begun < 60:
        time.sleep(0.1)
    computing = int((tmp_path / "pid").read_text())
    assert computing != asking.pid
    assert runs(computing)
    asking.kill()
    asking.wait()
    begun = time.monotonic()
    while runs(computing) and time.monotonic() - begun < 20:
        time.sleep(0.1)
    assert not runs(computing)
