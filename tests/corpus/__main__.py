"""`python -m tests.corpus > docs/messages.md`: what isofield says to every case of the corpus."""

from __future__ import annotations

from pathlib import Path

from .case import Case
from .cases import CHAPTERS, FINE, WRONG
from .process import in_a_folder, in_a_process

INTRODUCTION = f"""# What isofield says to input that cannot be used

Made by `python -m tests.corpus > docs/messages.md`; the tests in `tests/corpus` run the same {len(WRONG)} cases. Every message is
one line: **the key or file, its value: what is wrong with it. What to do about it.** The exit status is 2, before anything is
computed, and nothing is left behind. Through Snakemake the same is said while the workflow is read, or by its first job where
only the voxels tell; the status is 1.
"""


def message_of(case: Case) -> str:
    with in_a_folder() as folder:
        case.prepare_last(folder)
        said = in_a_process(case, folder, plainly=True).stderr if case.unprivileged else case.told(folder)[1]
        return said.strip().replace(f"{Path(folder).resolve()}", "...").replace(str(folder), "...")


def page() -> str:
    parts = [INTRODUCTION]
    for chapter, cases in CHAPTERS.items():
        parts.append(f"\n## {chapter}\n")
        parts += [f"\n{case.name}:\n\n```text\n{message_of(case)}\n```\n" for case in cases]
    parts.append(f"\n## What is accepted although it looks odd\n\n{', '.join(case.name for case in FINE)}.\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
