"""One module per rule of the workflow: paths and configuration in, files out."""

_WHERE = ("run.name", "run.results")
_ON_PROCESSORS = (*_WHERE, "run.seed", "run.threads_per_job")
_COMPUTE = (*_ON_PROCESSORS, "run.device")
_EVERYTHING = (
    *("run", "source", "measurement", "sections", "intensity", "blocks", "prior"),
    *("field", "fit", "output", "quality", "report", "verify"),
)

SECTIONS_READ: dict[str, tuple[str, ...]] = {
    "plan": (
        *(*_WHERE, "run.seed", "run.memory_gb"),
        *("source", "measurement", "sections", "intensity", "blocks", "output", "field"),
        *("fit.blocks_per_job", "fit.batch_blocks", "fit.slice_share", "fit.detail"),
    ),
    "train": (*_COMPUTE, "source", "measurement", "sections", "intensity", "prior"),
    "canvas": (*_WHERE, "output"),
    "fit": (*_COMPUTE, "run.on_failed_block", "source", "field", "fit"),
    "blend": (*_ON_PROCESSORS, "source", "output"),
    "pyramid": (*_WHERE, "output"),
    "finish": (*_WHERE, "output"),
    "measure": (*_ON_PROCESSORS, "source", "quality", "output.path", "output.joint"),
    # The page shows the whole configuration.
    "report": _EVERYTHING,
    "verify": (*_COMPUTE, "source", "field", "fit", "output", "verify"),
    "tidy": (*_WHERE, "run.keep_fields"),
    "preview": _EVERYTHING,
}
"""Sections, or single keys, of the configuration that each stage reads. A rule depends on these and on no others."""

JOINT_SECTIONS_READ: dict[str, tuple[str, ...]] = {
    "join": (*_WHERE, "output"),
    "overview": (*_WHERE, "output", "report"),
}
"""The same for stages of what several channels have in common; they are given the configuration of any of these."""
