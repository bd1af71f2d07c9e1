"""Every command of the guides is run as it stands, in one folder, on one small volume."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from isofield import cli
from isofield.config import SECTIONS

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
GUIDES = ("quickstart.md", "your-own-volume.md", "command-line.md", "faq.md")
QUICK = {
    "prior": {"steps": 10, "warmup_steps": 2, "batch": 2, "channels": [8, 8]},
    "fit": {"steps": 4},
    "output": {"chunk_vox": 32, "shard_vox": 64},
}
"""What is added to the configuration that `isofield init` wrote: work of seconds."""


def text_of(guide: str) -> str:
    return (DOCS / guide).read_text(encoding="utf-8")


def commands_of(guide: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text_of(guide), flags=re.DOTALL)
    lines = [re.sub(r"\s+#.*$", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder as a checkout looks to whoever types the guides' commands in it, with a volume."""
    folder = tmp_path_factory.mktemp("guides")
    rng = np.random.default_rng(0)
    tifffile.imwrite(folder / "my_volume.tif", rng.integers(0, 255, (6, 104, 96), dtype=np.uint8))
    (folder / "docs").mkdir()
    shutil.copy(DOCS / "open_result.py", folder / "docs")
    return folder


def run(line: str, folder: Path, programs: Path) -> str:
    """Run one line of a guide; what serves until it is interrupted is interrupted. Returns what it printed."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(map(str, (programs, Path(sys.executable).parent, os.environ["PATH"]))),
        "PYTHONUNBUFFERED": "1",
    }
    if line.startswith("source "):
        return ""
    if line.startswith("make "):
        line, folder = f"make --dry-run {line[5:]}", REPOSITORY
    if line.startswith("snakemake "):
        line += f" --snakefile {REPOSITORY / 'Snakefile'} --cores 2"
    if line.startswith("isofield view "):
        return view(line, folder, environment)
    done = subprocess.run(
        ["bash", "-ceuo", "pipefail", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    if line.startswith("isofield init "):
        written = folder / "my_volume.yaml"
        given = yaml.safe_load(written.read_text())
        # Tests share their cores: more threads than these would wait for each other.
        written.write_text(yaml.safe_dump(given | QUICK | {"run": {**given["run"], "threads_per_job": 1}}))
    return done.stdout + done.stderr


def view(line: str, folder: Path, environment: dict[str, str]) -> str:
    log = folder / "view.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            shlex.split(line), cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, preexec_fn=hear_interrupts
        )
        begun = time.monotonic()
        while "Ctrl-C" not in log.read_text() and process.poll() is None and time.monotonic() - begun < 120:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    return log.read_text()


def hear_interrupts() -> None:
    """Tests that a shell started in the background ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_every_command_of_the_guides_runs(home, programs):
    """In the order of reading: the first guide makes the run that the others look at."""
    printed = {}
    for guide in GUIDES:
        lines = commands_of(guide)
        assert lines, guide
        for line in lines:
            printed[guide, line] = run(line, home, programs)
    quick = {line: text for (guide, line), text in printed.items() if guide == "quickstart.md"}
    assert re.search(r"missing +0", quick["isofield status results/my_volume"])
    assert "neuroglancer" in quick["isofield view results/my_volume"].lower()
    opened = quick["python docs/open_result.py results/my_volume"]
    assert "isotropic  (60, 104, 96) voxels of [4.0, 4.0, 4.0] nm, uint8, first centre at [2.0, 2.0, 2.0] nm" in opened
    assert "measured   (6, 104, 96) voxels of [40.0, 4.0, 4.0] nm" in opened
    again = next(
        text for (guide, line), text in printed.items() if guide == "your-own-volume.md" and line.startswith("snakemake")
    )
    assert "Nothing to be done" in again


def test_a_command_that_does_not_work_would_be_noticed(tmp_path, programs):
    with pytest.raises(AssertionError, match=r"nowhere\.tif"):
        run("isofield init nowhere.tif", tmp_path, programs)


@pytest.mark.parametrize("guide", [*GUIDES, "README.md", "../CONTRIBUTING.md"])
def test_guides_name_files_commands_and_keys_that_exist(guide):
    text = text_of(guide)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((DOCS / guide).parent / target).exists(), target
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for span in spans:
        if span.startswith("isofield ") and "COMMAND" not in span:
            words = shlex.split(span)[1:]
            known = {name.partition(" ")[0] for name, _ in cli.teaching.commands_below(cli.parser())} | {"--help"}
            assert words[0] in known, span
        section, _, key = span.partition(":")[0].partition(".")
        if section in SECTIONS and key.isidentifier() and key.islower() and not span.endswith(".py"):
            assert key in SECTIONS[section].model_fields, span


def test_what_init_prints_is_what_the_guide_shows(tmp_path, monkeypatch, capsys):
    """On a file with the same metadata as the one shown."""
    shown = re.search(r"```console\n\$ isofield init (\S+)\n(.*?)```", text_of("your-own-volume.md"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    sizes = {f"PhysicalSize{axis}": value for axis, value in zip("XYZ", (0.512, 0.512, 0.499), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    data = np.zeros((45, 2, 130, 133), np.uint16)
    tifffile.imwrite(shown[1], data, ome=True, photometric="minisblack", metadata={"axes": "ZCYX", **sizes, **units})
    assert cli.main(["init", shown[1]]) == 1
    said = capsys.readouterr()
    assert said.out + said.err == shown[2]
