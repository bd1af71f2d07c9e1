"""One module per rule of the workflow: paths and configuration in, files out."""

_WHERE = ("run.name", "run.results")
_COMPUTE = (*_WHERE, "run.seed", "run.threads_per_job", "run.device")
_EVERYTHING = (
    *("run", "source", "measurement", "intensity", "blocks", "prior"),
    *("field", "fit", "output", "quality", "report", "verify"),
)

SECTIONS_READ: dict[str, tuple[str, ...]] = {
    "plan": (
        *(*_WHERE, "run.seed", "run.memory_gb"),
        *("source", "measurement", "intensity", "blocks", "output", "field"),
        *("fit.blocks_per_job", "fit.batch_blocks", "fit.slice_share", "fit.detail"),
    ),
    "train": (*_COMPUTE, "source", "measurement", "intensity", "prior"),
    "canvas": (*_WHERE, "output"),
    "fit": (*_COMPUTE, "source", "field", "fit"),
    "blend": (*_COMPUTE, "source", "output"),
    "pyramid": (*_WHERE, "output"),
    "finish": (*_WHERE, "output"),
    "measure": (*_COMPUTE, "source", "quality", "output.path"),
    # The page shows the whole configuration.
    "report": _EVERYTHING,
    "verify": (*_COMPUTE, "source", "field", "fit", "output", "verify"),
    "tidy": (*_WHERE, "run.keep_fields"),
    "preview": _EVERYTHING,
}
"""Sections, or single keys, of the configuration that each stage reads. A rule depends on these and on no others."""
