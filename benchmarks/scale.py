"""What planning, parsing, a dry run and status take for a run of a million blocks, and how memory grows with the volume.

    python benchmarks/scale.py [--blocks-per-side 100] [--work FOLDER]

The volume is a real Zarr array of several TB of which only a few chunks were ever written. Prints one line per step:
seconds of wall time and peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

RATIO, BLOCK, CHUNK = 8, 128, (64, 512, 512)
REPOSITORY = Path(__file__).parents[1]


def sparse_volume(path: Path, n_blocks: int) -> None:
    """Sections of a volume of n_blocks^3 blocks; three chunks are there."""
    shape = (n_blocks * BLOCK // RATIO, n_blocks * BLOCK, n_blocks * BLOCK)
    array = zarr.create_array(store=str(path), shape=shape, chunks=CHUNK, dtype="uint8", fill_value=0, overwrite=True)
    rng = np.random.default_rng(0)
    for corner in ((0, 0, 0), tuple(s // 2 // c * c for s, c in zip(shape, CHUNK, strict=True)), (0, 512, 1024)):
        part = tuple(slice(o, o + c) for o, c in zip(corner, CHUNK, strict=True))
        array[part] = rng.integers(0, 255, array[part].shape, dtype=np.uint8)


def measured(name: str, command: list[str], folder: Path) -> str:
    """Run a command; print how long it took and how much memory it needed. Returns what it printed."""
    before = time.monotonic()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    print(f"{name:28} {time.monotonic() - before:7.1f} s  {usage.ru_maxrss / 1024:8.0f} MB", flush=True)
    if status:
        sys.exit(text)
    return text


def pack_all(config: dict, folder: Path) -> None:
    """Records of all blocks, as the fit jobs of an empty volume leave them."""
    from isofield.fieldstore import FieldStore
    from isofield.paths import RunPaths
    from isofield.plan import Plan
    from isofield.records import write_json
    from isofield.stages.fitting import skipped

    paths = RunPaths(folder / "results" / config["run"]["name"])
    plan = Plan.load(paths.plan)
    write_json(paths.current_fit, {"fingerprint": "0" * 64})
    store = FieldStore(paths.fields, "0" * 64)
    begun = time.monotonic()
    for job in range(plan.n_fit_jobs):
        blocks = plan.jobs.fit_blocks(job)
        store.pack(blocks, [skipped(store, index) for index in blocks])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{f'packing {plan.n_fit_jobs} jobs':28} {time.monotonic() - begun:7.1f} s  {peak:8.0f} MB", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--blocks-per-side", type=int, default=100, help="100: a million blocks, 2.1 * 10^12 voxels")
    arguments.add_argument("--work", type=Path, help="folder to work in (default: a new temporary one)")
    given = arguments.parse_args()
    folder = given.work or Path(tempfile.mkdtemp(prefix="isofield-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    sparse_volume(folder / "sparse.zarr", given.blocks_per_side)
    config = {"run": {"name": "scale"}, "source": {"path": "sparse.zarr", "voxel_size_nm": [32, 4, 4]}}
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    print(f"{given.blocks_per_side**3} blocks in {folder}")
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(file)]
    measured("parse (--list-rules)", [*snakemake, "--list-rules"], folder)
    (folder / "Snakefile.one").write_text("rule all:\n    shell: 'true'\n")
    alone = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile.one", "--list-rules"]
    measured("parse a workflow of one rule", alone, folder)
    measured("plan", [sys.executable, "-m", "isofield.cli", "plan", str(file)], folder)
    measured("dry run", [*snakemake, "--dry-run", "--quiet", "all", "--cores", "1"], folder)
    pack_all(config, folder)
    measured("status", [sys.executable, "-m", "isofield.cli", "status", str(folder / "results" / "scale")], folder)


if __name__ == "__main__":
    main()
