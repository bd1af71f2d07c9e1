"""Runs over parts of a volume that fill one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_run import TinyRun

LEFT, RIGHT = [[0, 48], [0, 64], [0, 32]], [[0, 48], [0, 64], [32, 64]]
STAGES = ("plan", "train", "canvas", "fit", "blend", "pyramid", "finish", "measure", "report")
OUTPUT = {"chunk_vox": 16, "shard_vox": 32, "shards_per_job": 3, "pyramid_min_vox": 16, "pyramid_span": 1}


def part(folder: Path, name: str, region: list[list[int]] | None, prior: Path, **more: Any) -> TinyRun:
    """A run that makes `region` of the image in `folder`, with a prior that is there already."""
    return TinyRun.at(
        folder,
        run={"name": name, "threads_per_job": 1, "device": "cpu", "keep_fields": True},
        output={**OUTPUT, "path": str(folder / "image.ome.zarr"), "region_vox": region, **more.pop("output", {})},
        prior={**TinyRun.at(folder).config.prior.model_dump(mode="json"), "init": str(prior), "steps": 0},
        **more,
    )


def through(run: TinyRun, *stages: str) -> TinyRun:
    for stage in stages or STAGES:
        assert run.stage(stage) == 0, stage
    return run


def files(folder: Path) -> dict[str, bytes]:
    """All files of the image in `folder`, but for claims and for what says how it was made."""
    image = folder / "image.ome.zarr"
    kept = (p for p in image.rglob("*") if p.is_file() and p.parent.name != "regions" and p != image / "zarr.json")
    return {str(p.relative_to(image)): p.read_bytes() for p in kept}
