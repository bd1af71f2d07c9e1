# The typed configuration, the layout that follows from the volume's metadata, and what rules depend on.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from isofield.config import make_config, section_mark
from isofield.errors import InputError
from isofield.paths import RunPaths
from isofield.plan import lay_out
from isofield.source.probe import probe
from isofield.stages import SECTIONS_READ
from isofield.recovery import only_looks, withdraw_false_records

try:
    CFG = make_config(config)
    VOLUME = probe(CFG.source)
    LAYOUT = lay_out(CFG, VOLUME)
except InputError as error:
    raise WorkflowError(str(error))

RUN = RunPaths(Path(CFG.run.results) / CFG.run.name)
if workflow.is_main_process:
    marks = {
        stage: section_mark(CFG.section_json(*names))
        for stage, names in SECTIONS_READ.items()
    }
    running = not only_looks(sys.argv[1:])
    for record in withdraw_false_records(RUN, marks, VOLUME.identity, running):
        logger.info(f"{record} is stale, or a file it vouches for is gone or damaged")


def sections(stage):
    """The part of the configuration that a stage reads, as JSON: a change elsewhere does not concern it."""
    return CFG.section_json(*SECTIONS_READ[stage])


def log_of(stage):
    return str(RUN.root / "logs" / f"{stage}.log")


def benchmark_of(stage):
    return str(RUN.benchmarks / f"{stage}.tsv")
