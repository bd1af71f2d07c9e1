"""From what is typed to the runs it means: a results folder or a configuration, of one channel or of several."""

from __future__ import annotations

from pathlib import Path

from isofield.config import SECTIONS, load_config
from isofield.config.file import read_mapping, with_overrides
from isofield.errors import InputError
from isofield.paths import RunPaths, channel_folders


def paths_in(folder: str | Path) -> RunPaths:
    """Paths of the run in `folder`, the image as the run's canvas has it, as far as that can be read."""
    try:
        return _as_begun(folder)
    except (InputError, AttributeError):
        return RunPaths(Path(folder))


def finished_paths(folder: str) -> RunPaths:
    """Paths of a run with an image, wherever that lies. Raises InputError if `folder` is none."""
    if not RunPaths(Path(folder)).canvas.exists():
        raise InputError("run", folder, "is not the results folder of a run with an image", "Give one, such as results/demo")
    return _as_begun(folder)


def _as_begun(folder: str | Path) -> RunPaths:
    from isofield.records import read_json

    record = read_json(RunPaths(Path(folder)).canvas)
    return RunPaths(Path(folder), record.get("image"), record.get("channel"))


def units_in(folder: str | Path) -> list[Path]:
    """The folders of the channels of a run of several; that of a run of one is itself the only one."""
    root = Path(folder)
    return [root] if (root / "plan.json").exists() else channel_folders(root) or [root]


def require_one(folder: str, command: str) -> None:
    """Raises InputError for a run of several channels where `command` is for one."""
    units = units_in(folder)
    if len(units) > 1 or units[0] != Path(folder):
        names = ", ".join(unit.name for unit in units)
        limit = f"holds a run of several channels ({names}), of which {command} takes one"
        raise InputError("run", folder, limit, f"Give that of one of them: isofield {command} {units[0]}")


def configurations(given: str, overrides: list[str], begins: bool = False) -> list[tuple[str, list[str]]]:
    """A configuration and its overrides as they are; of one that names several channels, that of each of them.

    Those whose prior others use come first. begins: whether a run begins with it, whose folder may hold no other.
    """
    source = with_overrides(read_mapping(given), overrides).get("source")
    named = source.get("channel") if isinstance(source, dict) else None
    if not (named == "all" or isinstance(named, list)):
        return [(given, overrides)]
    from isofield.units import require_one_kind, trained_first, units_of

    units = units_of(load_config(given, overrides))
    if begins:
        require_one_kind(units)
    return [(unit.config.section_json(*SECTIONS), []) for unit in trained_first(units)]
