"""One module per rule of the workflow: paths and configuration in, files out."""

SECTIONS_READ: dict[str, tuple[str, ...]] = {
    "plan": (
        "run",
        "source",
        "measurement",
        "intensity",
        "blocks",
        "output",
        "field",
        "fit.blocks_per_job",
        "fit.batch_blocks",
    ),
    "train": ("run", "source", "measurement", "intensity", "prior"),
    "canvas": ("run", "output"),
    "fit": ("run", "source", "field", "fit"),
    "blend": ("run", "source", "output"),
    "pyramid": ("run", "output"),
    "measure": ("run", "source", "quality"),
    # The page shows the whole configuration.
    "report": (
        "run",
        "source",
        "measurement",
        "intensity",
        "blocks",
        "prior",
        "field",
        "fit",
        "output",
        "quality",
        "report",
    ),
}
"""Sections of the configuration that each stage reads. A rule depends on these and on no others."""
