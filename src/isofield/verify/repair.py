"""Removing what is wrong, so that the workflow makes just that again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.records import fsync_dir
from isofield.storage.place import Place
from isofield.verify.finding import Finding, all_repairs


def repair(
    findings: list[Finding], paths: RunPaths, place: Place, files: Mapping[str, bytes], store: FieldStore | None
) -> list[str]:
    """Remove what the findings name; returns what was done, in words.

    `files`: metadata of the image as the canvas has it. They are written anew rather than removed: an image without is refused.
    Of records that are gone, the workflow makes what they stood for; of what lies there whole it makes nothing.
    """
    done = []
    for one in all_repairs(findings):
        if one.kind == "metadata":
            place.write(one.target, files[one.target])
            done.append(f"wrote {place.locate(one.target)} anew")
        elif one.kind == "image":
            place.delete([one.target])
            done.append(f"removed {place.locate(one.target)}")
        elif one.kind == "block":
            if store is not None:
                store.withdraw(one.block)
                done.append(f"removed block {one.block}, its field and its record")
        elif _unlink(Path(one.target)):
            done.append(f"removed {one.target}")
    if findings and _unlink(paths.verified):
        done.append(f"removed {paths.verified}")
    return done


def _unlink(path: Path) -> bool:
    if not path.exists():
        return False
    path.unlink()
    fsync_dir(path.parent)
    return True
