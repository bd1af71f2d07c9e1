"""Stage join: what the metadata of an image of several channels say of all of them, once all are complete."""

from __future__ import annotations

from pathlib import Path

from isofield import __version__
from isofield.config import Sections
from isofield.omezarr.canvas import set_provenance
from isofield.omezarr.metadata import Channel, colour_of
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.window import display_window
from isofield.paths import RunPaths, channel_folder
from isofield.plan import Plan
from isofield.records import write_json
from isofield.stages.imaging import METHOD, provenance


def join_channels(config: Sections, whole: RunPaths) -> None:
    """Write how each channel came to be and how it is shown: by one job, because all of it is one file.

    config: of any of the units; whole: of the run. Names and colours follow the channels' order, windows what they hold.
    """
    shown, made = [], []
    for paths, label in units_in(whole.root, config.output):
        plan = Plan.load(paths.plan)
        window = display_window(paths.isotropic, (plan.intensity["low"], plan.intensity["high"]))
        shown.append(Channel(label, colour_of(len(shown)), window))
        about = provenance(plan, paths)
        made.append({"label": label, **{key: about[key] for key in about if key not in ("version", "method")}})
    joint = config.output.joint
    for channel, about in zip(joint.channels, made, strict=True):
        about["source"] |= {"channel": channel}
    set_provenance(paths.store, {"version": __version__, "method": METHOD, "channels": made}, shown)
    image = paths.image and str(paths.store)
    write_json(paths.joined, {"made_from": config.mark, "image": image, "channels": joint.channels, "labels": joint.labels})


def units_in(root: Path, output: OutputSpec) -> list[tuple[RunPaths, str]]:
    """Paths and name of every channel of the run at `root`, in the image's order; output: as any of them has it."""
    joint = output.joint
    return [
        (RunPaths(root / channel_folder(channel), output.path, index), label)
        for index, (channel, label) in enumerate(zip(joint.channels, joint.labels, strict=True))  # type: ignore[union-attr]
    ]
