"""Where everything of a run lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Files of one run, below `root` = results/<run name>."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

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
    def tidy(self) -> Path:
        return self.root / "jobs" / "tidy.json"

    @property
    def shards(self) -> Path:
        """One record per written shard."""
        return self.root / "shards"

    @property
    def isotropic(self) -> Path:
        return self.root / "isotropic.ome.zarr"

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
    def neuroglancer(self) -> Path:
        return self.root / "neuroglancer.json"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"
