"""Where everything of a run lies."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from isofield.errors import InputError
from isofield.storage.uri import WRITABLE, checked_uri, is_remote

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")


@dataclass(frozen=True)
class ChannelOf:
    """One channel of an image of several (axes c, z, y, x): what functions of `omezarr.store` take for an image z, y, x.

    image: path or URI. Deliberately no os.PathLike: its files are those of all channels.
    """

    image: Path | str
    index: int

    def __str__(self) -> str:
        return f"{self.image} (channel {self.index})"


def channel_folder(channel: int | str) -> str:
    """Name of the folder, in that of a run of several channels, of what is made of one channel of the source."""
    return f"channel-{channel}"


def channel_folders(root: Path) -> list[Path]:
    """Folders of the channels of the run at `root` that have a plan, by number; none of a run of one channel."""
    found = [folder for folder in Path(root).glob("channel-*") if (folder / "plan.json").exists()]
    numbers = {int(number): folder for folder in found if (number := folder.name.partition("-")[2]).isdecimal()}
    return [numbers[number] for number in sorted(numbers)]


@dataclass(frozen=True)
class RunPaths:
    """Files of one run, below `root` = results/<run name>; the isotropic image may lie elsewhere.

    image: `output.path`, a local path or a URI; None: below `root`. channel: which channel of an image of several the run
    makes, whose folder lies in `root`'s then; None: the image is its own. Raises InputError for an image that cannot be
    written to.
    """

    root: Path
    image: str | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        if self.image is not None:
            image = expand(self.image, "output.path")
            image = checked_uri(image, "output.path", WRITABLE) if is_remote(image) else os.path.abspath(image)
            object.__setattr__(self, "image", image)

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def blocks(self) -> Path:
        return self.root / "blocks.parquet"

    @property
    def prior(self) -> Path:
        return self.root / "prior" / "prior.safetensors"

    @property
    def prior_facts(self) -> Path:
        return self.root / "prior" / "prior.json"

    @property
    def prior_losses(self) -> Path:
        return self.root / "prior" / "loss.csv"

    @property
    def prior_samples(self) -> Path:
        return self.root / "prior" / "samples.png"

    @property
    def first_prior(self) -> Path:
        """The network of the first of two rounds, which restored what the second one learned from."""
        return self.root / "prior" / "first.safetensors"

    @property
    def training(self) -> Path:
        """State of training; outside what Snakemake knows of, so that a failed job leaves it."""
        return self.root / "prior" / "training.safetensors"

    @property
    def fields(self) -> Path:
        return self.root / "fields"

    @property
    def current_fit(self) -> Path:
        return self.fields / "current.json"

    def fit_job(self, job: int | str) -> Path:
        return self.root / "jobs" / f"fit-{job}.json"

    def blend_job(self, job: int | str) -> Path:
        return self.root / "jobs" / f"blend-{job}.json"

    @property
    def canvas(self) -> Path:
        return self.root / "jobs" / "canvas.json"

    def pyramid_job(self, job: int | str) -> Path:
        return self.root / "jobs" / f"pyramid-{job}.json"

    @property
    def finish(self) -> Path:
        return self.root / "jobs" / "finish.json"

    @property
    def verified(self) -> Path:
        """Record of a verification that found nothing wrong."""
        return self.root / "jobs" / "verify.json"

    @property
    def verification(self) -> Path:
        """What the last verification found, whatever it was."""
        return self.root / "verify.json"

    @property
    def tidy(self) -> Path:
        return self.root / "jobs" / "tidy.json"

    @property
    def shards(self) -> Path:
        """One record per written shard."""
        return self.root / "shards"

    @property
    def store(self) -> Path | str:
        """Where the files of the image lie: a local path, or a URI as text."""
        if self.image is None:
            return (self.root if self.channel is None else self.root.parent) / "isotropic.ome.zarr"
        return self.image if is_remote(self.image) else Path(self.image)

    @property
    def isotropic(self) -> Path | str | ChannelOf:
        """The image as its voxels are read and written: `store`, or one channel of it."""
        return self.store if self.channel is None else ChannelOf(self.store, self.channel)

    @property
    def joined(self) -> Path:
        """Record that the metadata of an image of several channels speak of all of them; `root` is of one of these."""
        return self.root.parent / "jobs" / "join.json"

    @property
    def measured(self) -> Path:
        return self.root / "measured.ome.zarr"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def block_metrics(self) -> Path:
        return self.root / "metrics.parquet"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def preview(self) -> Path:
        return self.root / "preview" / "index.html"

    @property
    def preview_numbers(self) -> Path:
        return self.root / "preview" / "preview.json"

    @property
    def neuroglancer(self) -> Path:
        return self.root / "neuroglancer.json"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"


def expand(text: str, key: str = "source.path") -> str:
    """`text`, the value of `key`, with $NAME, ${NAME}, ${NAME:-default} and a leading ~ replaced from the environment.

    Raises InputError for a variable that is unset or empty and has no default.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match[1] or match[2], match[3]
        value = os.environ.get(name, "")
        if value:
            return value
        if default is None:
            raise InputError(
                key,
                text,
                f"the variable {name} is not set",
                f"Set it, or write ${{{name}:-default}}",
            )
        return expand(default, key)

    return os.path.expanduser(_VARIABLE.sub(value_of, text))
