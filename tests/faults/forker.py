"""A process that has loaded every stage and forks a real process per command, so that a test can afford many kills.

`python forker.py` reads one JSON object per line: argv of `isofield`, the file for its output, and what is to befall it. It
answers with the exit status of the process (negative: the signal that ended it) and how long it took.

kill_at: SIGKILL itself right before that many-th operation on files below `root` (how many there were is written to the file
`count`); after_s, signal: sent from outside after that time; files, signal: sent once a glob pattern below `root` has so many;
text, signal: sent once it has printed that;
vanish: [folder, n], the folder is renamed to NAME.away right before that many-th file below its subfolder `c` is opened;
memory_blocks: a fit of more blocks than that at once asks torch for more memory than there is; nan_blocks: the denoiser answers
NaN for these blocks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from warm import load

LIMIT_S = 1200.0
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


def suicide(kill_at: int, root: str) -> Callable[[], int]:
    """Die by SIGKILL right before the `kill_at`-th operation that can change something below `root`; returns the count so far."""
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        if event not in OPERATIONS or not isinstance(args[0], str | os.PathLike) or not os.fspath(args[0]).startswith(root):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        seen += 1
        if seen > kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: seen


def vanishing(folder: str, n: int) -> None:
    """Rename a Zarr array away right before its `n`-th chunk is opened, counted from 0."""
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        if event == "open" and isinstance(args[0], str | os.PathLike) and os.fspath(args[0]).startswith(f"{folder}/c/"):
            seen += 1
            if seen == n + 1:
                os.rename(folder, f"{folder}.away")

    sys.addaudithook(hook)


def without_answer(blocks: list[int], argv: list[str]) -> None:
    """From now on the prior answers NaN on the slices of these blocks."""
    import numpy as np
    import torch

    from isofield.config import load_sections
    from isofield.paths import RunPaths
    from isofield.plan import Plan
    from isofield.source import open_source
    from isofield.stages import SECTIONS_READ, fitting
    from isofield.stages.blocks_io import MeasuredBlocks

    config = load_sections(argv[1], SECTIONS_READ["fit"])
    plan = Plan.load(RunPaths(Path(config.run.results) / config.run.name).plan)
    measured = MeasuredBlocks(open_source(config.source), plan)
    data = [measured.block(i, config.run.seed, 1, noisy=False) for i in blocks]
    # A call that begins with the first ZX slice of a block's field is one for its targets.
    firsts = {np.ascontiguousarray(block.base[:, block.inner[0]]).tobytes() for block in data if block is not None}
    load_prior = fitting.load_prior

    def load_broken(path: Path, device: torch.device):
        denoiser, facts = load_prior(path, device)

        def denoise(x, sigma, condition):
            answer = denoiser(x, sigma, condition)
            broken = condition is not None and condition[0, 0].contiguous().numpy().tobytes() in firsts
            return torch.full_like(answer, torch.nan) if broken else answer

        return denoise, facts

    fitting.load_prior = load_broken


def little_memory(n_blocks: int) -> None:
    """From now on a fit of more than `n_blocks` at once meets the error of torch's allocator."""
    import torch

    from isofield.stages import fitting

    fit_fields = fitting.fit_fields

    def fit(blocks, *rest):
        if len(blocks) > n_blocks:
            torch.empty(2**60, dtype=torch.uint8)
        return fit_fields(blocks, *rest)

    fitting.fit_fields = fit


def child(job: dict) -> None:
    """What the forked process does; never returns."""
    # Tests that a shell started in the background ignore Ctrl-C, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status, operations = 70, None
    try:
        from isofield.cli import main

        if job.get("nan_blocks"):
            without_answer(job["nan_blocks"], job["argv"])
        if job.get("memory_blocks") is not None:
            little_memory(job["memory_blocks"])
        if job.get("vanish") is not None:
            vanishing(*job["vanish"])
        operations = suicide(sys.maxsize if job.get("kill_at") is None else job["kill_at"], job["root"])
        status = main(job["argv"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        if operations is not None:
            Path(job["count"]).write_text(str(operations()))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def due(job: dict, seconds: float) -> bool:
    """Whether the moment for the signal has come: after a time, or once so many files of a pattern are there."""
    if job.get("files") is not None:
        pattern, n = job["files"]
        return sum(1 for _ in Path(job["root"]).glob(pattern)) >= n
    if job.get("text") is not None:
        return Path(job["log"]).exists() and job["text"] in Path(job["log"]).read_text()
    return seconds >= job["after_s"]


def run(job: dict) -> dict:
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(job)
    if job.get("signal") is not None:
        while not due(job, time.monotonic() - begun):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - begun}
            time.sleep(0.002)
        os.kill(pid, getattr(signal, job["signal"]))
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() - begun > LIMIT_S:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    status = ended[1]
    return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - begun}


if __name__ == "__main__":
    load()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
