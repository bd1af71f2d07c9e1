"""A run of at least 200 small blocks under random kills, every few seconds, for 20 minutes: `make soak`.

Beside it the same run is made undisturbed, and at the end both must agree to the byte. A run that is complete before the time is
over is begun again elsewhere. Exits non-zero, and keeps its folder, if any byte differs.

    python tests/faults/soak.py --minutes 20 --blocks 200 --folder build/soak
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from disturbed import DisturbedRun
from faulty_run import FaultyRun, difference, write_sections

BLOCK_VOX, FACTOR = 24, 4
CHANGES = {
    "run": {"name": "soak", "keep_fields": True},
    "blocks": {"write_vox": BLOCK_VOX, "context_vox": 8, "overlap_vox": 4},
    "prior": {"steps": 60, "checkpoint_every_s": 1.0},
    "fit": {"blocks_per_job": 20, "steps": 24},
    "output": {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 12, "pyramid_min_vox": 32},
}


def shape_of(n_blocks: int) -> tuple[int, int, int]:
    """Voxels of a volume of at least so many blocks, nearly a cube of them."""
    counts = [2, 2, 2]
    while counts[0] * counts[1] * counts[2] < n_blocks:
        counts[counts.index(min(counts))] += 1
    return tuple(n * BLOCK_VOX for n in counts)  # type: ignore[return-value]


def check(run: FaultyRun, undisturbed: FaultyRun) -> list[str]:
    """What is wrong with a finished run: what `isofield verify` finds, and every byte that differs from the undisturbed one."""
    command = [sys.executable, "-m", "isofield.cli", "verify", str(run.root)]
    verified = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(verified.stdout, flush=True)
    # Records and metadata name the folder they were made in; all that holds voxels, weights or fields must agree.
    arrays = ("isotropic.ome.zarr", "measured.ome.zarr", "prior/prior.safetensors")
    differ = difference(run.digest(), undisturbed.digest())
    wrong = [] if verified.returncode == 0 else [f"verify exits with {verified.returncode}"]
    wrong += [name for name in differ if name.startswith(arrays) and not name.endswith("zarr.json")]
    ours, theirs = ({i: r.store.payload(i) for i, _ in r.store.records()} for r in (run, undisturbed))
    return wrong + [f"field of block {i}" for i in sorted(ours.keys() | theirs.keys()) if ours.get(i) != theirs.get(i)]


def soak(folder: Path, minutes: float, n_blocks: int, every_s: tuple[float, float], seed: int) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_sections(folder / "sections.zarr", shape_of(n_blocks), FACTOR)
    dice = random.Random(seed)
    print(f"seed {seed}, volume {shape_of(n_blocks)}", flush=True)

    def workflow(name: str) -> DisturbedRun:
        (folder / name).mkdir()
        run = FaultyRun(folder, None, CHANGES, results=folder / name / "results")  # type: ignore[arg-type]
        return DisturbedRun(folder / name, run)

    calm = workflow("undisturbed")
    begun = time.monotonic()
    calm.to_the_end()
    n_done = sum(record["state"] == "done" for _, record in calm.run.store.records())
    print(f"undisturbed: {n_done} blocks in {time.monotonic() - begun:.0f} s", flush=True)
    until, n_kills, rounds, wrong = time.monotonic() + 60 * minutes, 0, 0, []
    while time.monotonic() < until and not wrong:
        disturbed = workflow(f"round-{rounds}")
        n = disturbed.under_fire(dice, 10**6, every_s, until)
        disturbed.to_the_end()
        wrong = check(disturbed.run, calm.run)
        n_kills, rounds = n_kills + n, rounds + 1
        print(f"round {rounds}: {n} kills, {len(wrong)} differences", flush=True)
        if not wrong:
            shutil.rmtree(disturbed.folder)
    print(f"{n_done} blocks, {rounds} runs, {n_kills} kills in {minutes:g} minutes, {len(wrong)} differences: {wrong[:10]}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("build/soak"))
    parser.add_argument("--every", type=float, nargs=2, default=(3.0, 12.0), metavar=("FROM_S", "TO_S"), help="between kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    return soak(given.folder.resolve(), given.minutes, given.blocks, tuple(given.every), given.seed)


if __name__ == "__main__":
    sys.exit(main())
