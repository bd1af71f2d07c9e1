"""What `--help` teaches beyond the options: examples for every command, what exit codes mean, where to begin."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": (
        "isofield init brain.ome.tif",
        "isofield init stack.h5 --dataset volumes/raw --voxel-size-nm 40,4,4 --name cremi",
        "isofield init nucleus.ome.tif --channel 0 --out - | less",
    ),
    "plan": ("isofield plan my_volume.yaml", "isofield plan my_volume.yaml --json --config blocks.write_vox=96 run.memory_gb=8"),
    "train": ("isofield train my_volume.yaml", "isofield train my_volume.yaml --config prior.steps=2000"),
    "canvas": ("isofield canvas my_volume.yaml",),
    "fit": ("isofield fit my_volume.yaml", "isofield fit my_volume.yaml --job 3"),
    "blend": ("isofield blend my_volume.yaml --job 0",),
    "pyramid": ("isofield pyramid my_volume.yaml --job 0",),
    "finish": ("isofield finish my_volume.yaml",),
    "join": ("isofield join my_volume.yaml --config source.channel=all",),
    "overview": ("isofield overview my_volume.yaml --config source.channel=all",),
    "measure": ("isofield measure my_volume.yaml", "isofield measure my_volume.yaml --json"),
    "report": ("isofield report my_volume.yaml",),
    "verify": ("isofield verify results/my_volume", "isofield verify results/my_volume --repair --json"),
    "tidy": ("isofield tidy my_volume.yaml",),
    "preview": ("isofield preview my_volume.yaml", "snakemake preview --configfile my_volume.yaml"),
    "estimate": (
        "isofield estimate my_volume.yaml --gpus 4 --cpus 64",
        "isofield estimate my_volume.yaml --shape 12500,28000,28000 --voxel-size-nm 40,4,4 --json",
    ),
    "status": ("isofield status results/my_volume", "isofield status results/my_volume --json"),
    "view": ("isofield view results/my_volume --open", "isofield view results/my_volume --port 8123"),
    "render": (
        "isofield render results/my_volume --voxel-size-nm 5 --out my_volume_5nm.ome.zarr",
        "isofield render results/my_volume --voxel-size-nm 40,8,8 --roi 40:80,0:160,0:160 --out part.ome.zarr",
    ),
    "export": (
        "isofield export results/my_volume --roi 40:120,0:160,0:160 --to part.tif",
        "isofield export results/my_volume --level 1 --to my_volume.precomputed --sharded",
        "isofield export results/my_volume --channel 1 --to second_channel.tif",
    ),
    "check-readers": ("isofield check-readers results/my_volume", "isofield check-readers my_volume_5nm.ome.zarr --json"),
    "benchmark": ("isofield benchmark speed --help", "isofield benchmark quality --help"),
    "benchmark quality": (
        "isofield benchmark quality --volume isotropic.ome.tif --factors 4,8 --train-minutes 5 --out results/quality",
        "isofield benchmark quality --volume phantom:tissue --methods linear,cubic --out results/quick --json",
    ),
    "benchmark sections": ("isofield benchmark sections --volume isotropic.ome.tif --factor 8 --out results/sections",),
    "benchmark speed": ("isofield benchmark speed --threads 4", "isofield benchmark speed --device cuda --batch 8 --json"),
    "config": ("isofield config > my_volume.yaml", "isofield config --schema > schema.json"),
    "completion": (
        "isofield completion bash > ~/.local/share/bash-completion/completions/isofield",
        'isofield completion zsh > "${fpath[1]}/_isofield"',
    ),
}
"""Command lines for each command, as a user would type them; a command may have them as its epilog instead. A test parses all."""

EXIT_CODES = """\
Exit codes:
  0    done
  1    something failed, or what was looked at is not as it should be
  2    the command line, the configuration or the volume cannot be used; nothing was written
  130  interrupted"""

BEGIN = """\
A volume from beginning to end:
  isofield init my_volume.tif                # a commented configuration, after a look at the volume
  isofield plan my_volume.yaml               # what would be done; refuses what cannot work
  snakemake --configfile my_volume.yaml      # does it: plan, train, canvas, fit, blend, pyramid, finish, measure, report,
                                             # verify, tidy
  isofield status results/my_volume          # how far it is
  isofield view results/my_volume            # the result in neuroglancer

`isofield COMMAND --help` has examples. What one command prints for people others read with --json."""


class Teaching(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs, and leaves those alone that have indented lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrap = argparse.HelpFormatter._fill_text
        return "\n\n".join(p if "\n " in p else wrap(self, p, width, indent) for p in text.split("\n\n"))


def teach(top: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """`top` with examples in the help of every command below it."""
    top.formatter_class, top.epilog = Teaching, f"{BEGIN}\n\n{EXIT_CODES}"
    for name, command in commands_below(top):
        command.formatter_class = Teaching
        command.epilog = "\n".join(["Examples:", *(f"  {line}" for line in examples_of(name, command))])
    return top


def examples_of(name: str, command: argparse.ArgumentParser) -> tuple[str, ...]:
    """Command lines for a command; of the epilog what is one."""
    lines = EXAMPLES.get(name) or (command.epilog or "").splitlines()
    return tuple(line.strip() for line in lines if line.strip().startswith(("isofield ", "snakemake ")))


def commands_below(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and command of a command, by the words that name it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for word, command in action.choices.items():
                if not command.description and helps.get(word):
                    command.description = f"{helps[word][0].upper()}{helps[word][1:]}."
                yield f"{prefix}{word}", command
                yield from commands_below(command, f"{prefix}{word} ")
