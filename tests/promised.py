"""What every finished run holds, whatever ran its stages."""

from __future__ import annotations

CONTRACT = (
    "plan.json",
    "blocks.parquet",
    "prior/prior.safetensors",
    "prior/prior.json",
    "prior/loss.csv",
    "prior/samples.png",
    "isotropic.ome.zarr/zarr.json",
    "measured.ome.zarr/zarr.json",
    "verify.json",
    "metrics.json",
    "metrics.parquet",
    "report/index.html",
    "neuroglancer.json",
)
"""Files below results/<run name>/ that others may rely on."""
