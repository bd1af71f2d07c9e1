# The typed configuration, the layout that follows from the volume's metadata, and what rules depend on.
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError

CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
if find_spec("isofield") is None:
    raise WorkflowError(
        f"isofield is not installed beside this snakemake: pip install -c {CHECKOUT}/envs/constraints.txt -e {CHECKOUT}"
    )
# envs/isofield.yaml installs it from there.
os.environ.setdefault("ISOFIELD_CHECKOUT", str(CHECKOUT))

from isofield.config import make_config, section_mark
from isofield.cost.rules import asked_for
from isofield.errors import InputError
from isofield.locking import claim_run
from isofield.paths import RunPaths
from isofield.plan import lay_out
from isofield.source.paths import expand as expand_path, kernel_identity, kernel_path
from isofield.source.probe import probe
from isofield.stages import SECTIONS_READ
from isofield.recovery import only_looks, withdraw_false_records

try:
    CFG = make_config(config)
    VOLUME = probe(CFG.source)
    LAYOUT = lay_out(CFG, VOLUME)
    # Memory and time per job, from the same formulas as the plan's promises and `isofield estimate`.
    COSTS = asked_for(CFG, LAYOUT, VOLUME.dtype)
    KERNEL = [kernel_path(CFG.kernel)] if CFG.kernel else []
    INIT = [Path(expand_path(CFG.prior.init, "prior.init"))] if CFG.prior.init else []
    RUN = RunPaths(Path(CFG.run.results) / CFG.run.name, CFG.output.path)
except InputError as error:
    raise WorkflowError(str(error))

# What is measured, and through which profile: where its content changes, so does this.
IDENTITY = VOLUME.identity | kernel_identity(CFG.kernel)
JOBS = LAYOUT.jobs
if workflow.is_main_process:
    marks = {
        stage: section_mark(CFG.section_json(*names))
        for stage, names in SECTIONS_READ.items()
    }
    running = not only_looks(sys.argv[1:])
    if running:
        try:
            claim_run(RUN.root)
        except InputError as error:
            raise WorkflowError(str(error))
    known = IDENTITY if all(path.exists() for path in KERNEL) else None
    for record in withdraw_false_records(RUN, marks, known, running):
        logger.info(f"{record} is stale, or a file it vouches for is gone or damaged")


def fits_before(wildcards):
    """Records of the fit jobs that a blend job needs blocks of."""
    return expand(RUN.fit_job("{job}"), job=JOBS.fits_before(int(wildcards.job)))


def blends_before(wildcards):
    """Records of the blend jobs that write what a pyramid job reads."""
    return expand(RUN.blend_job("{job}"), job=JOBS.blends_before(int(wildcards.job)))


def sections(stage):
    """The part of the configuration that a stage reads, as JSON: a change elsewhere does not concern it."""
    return CFG.section_json(*SECTIONS_READ[stage])


def log_of(stage):
    return str(RUN.root / "logs" / f"{stage}.log")


def benchmark_of(stage):
    return str(RUN.benchmarks / f"{stage}.tsv")
