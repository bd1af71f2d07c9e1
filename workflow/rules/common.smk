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
from isofield.paths import RunPaths, channel_folder
from isofield.plan import lay_out
from isofield.recovery import only_looks, withdraw_false_joint, withdraw_false_records
from isofield.source.apart import require_apart
from isofield.source.paths import expand as expand_path, kernel_identity, kernel_path
from isofield.source.paths import require_no_wildcards
from isofield.stages import JOINT_SECTIONS_READ, SECTIONS_READ
from isofield.units import joint_root, require_one_kind, units_of

try:
    CFG = make_config(config)
    # What is run: the volume, or each of several channels, by its number as the wildcard {channel} has it.
    UNITS = {str(unit.channel): unit for unit in units_of(CFG)}
    ONE, *_ = UNITS.values()
    # All channels have one geometry.
    LAYOUT = lay_out(ONE.config, ONE.volume)
    # Memory and time per job, from the same formulas as the plan's promises and `isofield estimate`.
    COSTS = asked_for(CFG, LAYOUT, ONE.volume.dtype)
    KERNEL = [kernel_path(CFG.kernel)] if CFG.kernel else []
    INITS = {
        name: [Path(expand_path(unit.config.prior.init, "prior.init"))]
        for name, unit in UNITS.items()
        if unit.config.prior.init
    }
    ROOT = joint_root(list(UNITS.values()))
    for unit in UNITS.values():
        require_apart(unit.config.source, unit.paths)
    require_one_kind(list(UNITS.values()))
    for key, files in {
        "kernel_file": KERNEL,
        "prior.init": sum(INITS.values(), []),
    }.items():
        require_no_wildcards(key, files)
except InputError as error:
    raise WorkflowError(str(error))

# Rules are written once: their files are those of the run, or of one of its channels.
SEVERAL = len(UNITS) > 1
WHOLE = RunPaths(ROOT)
RUN = RunPaths(ROOT / channel_folder("{channel}")) if SEVERAL else WHOLE
# The record with which the image is as it will stay; what all channels have in common; what a report is called.
COMPLETE = RUN.joined if SEVERAL else RUN.finish
JOINT = [RUN.joined, WHOLE.report, WHOLE.neuroglancer] if SEVERAL else []
REPORT_OF = "report of channel {channel}" if SEVERAL else "report"
# What is measured, and through which profile: where its content changes, so does this.
KERNEL_IDENTITY = kernel_identity(CFG.kernel)
JOBS = LAYOUT.jobs


wildcard_constraints:
    channel=r"\d+",
    job=r"\d+",


if workflow.is_main_process:
    running = not only_looks(sys.argv[1:])
    if running:
        try:
            claim_run(ROOT)
        except InputError as error:
            raise WorkflowError(str(error))
    withdrawn = []
    for unit in UNITS.values():
        marks = {
            stage: section_mark(unit.config.section_json(*names))
            for stage, names in SECTIONS_READ.items()
        }
        known = unit.volume.identity | KERNEL_IDENTITY
        known = known if all(path.exists() for path in KERNEL) else None
        withdrawn += withdraw_false_records(unit.paths, marks, known, running)
    if SEVERAL:
        mark = section_mark(ONE.config.section_json(*JOINT_SECTIONS_READ["join"]))
        withdrawn += withdraw_false_joint(ONE.paths, mark, running)
    for record in withdrawn:
        logger.info(f"{record} is stale, or a file it vouches for is gone or damaged")


def unit_of(wildcards):
    """The unit whose file a rule makes."""
    return UNITS[wildcards.channel] if SEVERAL else ONE


def init_of(wildcards):
    """The prior that training starts from, or that is used as it is: of another run, or of another channel."""
    return INITS.get(str(unit_of(wildcards).channel), [])


def identity_of(wildcards):
    return unit_of(wildcards).volume.identity | KERNEL_IDENTITY


def fits_before(wildcards):
    """Records of the fit jobs that a blend job needs blocks of."""
    pattern = unit_of(wildcards).paths.fit_job("{job}")
    return expand(pattern, job=JOBS.fits_before(int(wildcards.job)))


def blends_before(wildcards):
    """Records of the blend jobs that write what a pyramid job reads."""
    pattern = unit_of(wildcards).paths.blend_job("{job}")
    return expand(pattern, job=JOBS.blends_before(int(wildcards.job)))


def of_jobs(pattern, n):
    """A rule's outputs of all its `n` jobs, within one unit."""
    return expand(pattern, job=range(n), allow_missing=True)


def of_all(outputs, **jobs):
    """A rule's outputs in all units."""
    files = [outputs] if isinstance(outputs, str) else outputs
    # As plain names: what one rule thinks of them, ancient say, is not for others.
    return expand([str(file) for file in files], channel=list(UNITS), **jobs)


def sections(stage):
    """The part of the configuration that a stage reads, as JSON: a change elsewhere does not concern it.

    A function of the wildcards: Snakemake takes {job} in a plain text, a file's name say, for one.
    """
    names = SECTIONS_READ[stage]
    texts = {name: unit.config.section_json(*names) for name, unit in UNITS.items()}
    return lambda wildcards: texts[str(unit_of(wildcards).channel)]


def joint_sections(stage):
    """The same for what is made of all channels together: each of them knows of the others."""
    text = ONE.config.section_json(*JOINT_SECTIONS_READ[stage])
    return lambda wildcards: text


def log_of(stage):
    return str(RUN.root / "logs" / f"{stage}.log")


def benchmark_of(stage):
    return str(RUN.benchmarks / f"{stage}.tsv")
