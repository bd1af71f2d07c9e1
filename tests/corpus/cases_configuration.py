"""Configurations that cannot be used, whatever the volume."""

from __future__ import annotations

from .case import Case
from .volumes import both, file, h5

RUN = b"run: {name: corpus}\nsource: {path: volume.h5}\n"
KERNEL = {"operator": "kernel", "kernel_file": "profile.csv"}

FILES = (
    Case("configuration that is not there", "configuration", "is not a file", "Give the path", argument="nowhere.yaml"),
    Case("configuration that is a folder", "configuration", "is not a file", "Give the path", argument="."),
    Case("empty configuration", "configuration", "holds no sections", "run.name and source.path", text=b""),
    Case("configuration that is a list", "configuration", "holds no sections", "run.name", text=b"- run\n- source\n"),
    Case("YAML with an open bracket", "configuration", "line 3", "Mend", text=RUN + b"fit: {steps: 4\n"),
    Case("YAML with a tab", "configuration", "line 2", "Mend", text=b"run:\n\tname: corpus\n"),
    Case("YAML that is not UTF-8", "configuration", "no UTF-8 text", "Save it", text=b"run: \xff\xfe\n"),
    Case("binary file as configuration", "configuration", "no UTF-8 text", "name", argument="volume.h5"),
    Case(
        "section given twice", "configuration", "'fit' twice.*line 4", "Mend", text=RUN + b"fit: {steps: 4}\nfit: {mode: sds}\n"
    ),
    Case(
        "YAML that would call Python", "configuration", "constructor", "Mend", text=b"run: !!python/object/apply:os.getcwd []\n"
    ),
    Case("JSON that is cut off", "configuration", "is not valid JSON", "Mend", argument='{"run": {"name": "corpus"}'),
    Case("override without a value", "--config", "is not section.key=value", "fit.mode=sds", overrides=("fit.mode",)),
    Case("override that is no YAML", "--config", "is not valid YAML", "quotes", overrides=("run.name=[",)),
    Case("override of a key within a value", "source.path", "string", "quotes", overrides=("source.path.x=1",)),
)

KEYS = (
    Case("unknown section", "bloks", "unknown key", "did you mean blocks?", {"bloks": {"write_vox": 64}}),
    Case("unknown key", "blocks.write_voxels", "unknown key", "did you mean blocks.write_vox", {"blocks": {"write_voxels": 9}}),
    Case("key of another section", "fit.channels", "unknown key", "Remove it", {"fit": {"channels": [8]}}),
    Case(
        "unknown key below a key", "source.simulate.oprator", "unknown key", "operator", {"source": {"simulate": {"oprator": 1}}}
    ),
    Case("no run.name", "run.name", "is required", "Add it", text=b"run: {}\nsource: {path: volume.h5}\n"),
    Case("no source", "source", "is required", "Add it", text=b"run: {name: corpus}\n"),
    Case("no source.path", "source.path", "is required", "Add it", text=b"run: {name: corpus}\nsource:\n  channel: 0\n"),
    Case("section that is a number", "blocks", "dictionary", "Mend", {"blocks": 3}),
    Case("word for a count", "blocks.write_vox", "valid integer", "Mend", {"blocks": {"write_vox": "wide"}}),
    Case("fraction for a count", "run.seed", "valid integer", "Mend", {"run": {"seed": 1.5}}),
    Case("number for a name", "run.name", "valid string", "quotes", {"run": {"name": 2024}}),
    Case("below the range", "blocks.write_vox", "greater than or equal to 16", "Mend", {"blocks": {"write_vox": 8}}),
    Case(
        "above the range", "source.simulate.factor", "less than or equal to 20", "Mend", {"source": {"simulate": {"factor": 40}}}
    ),
    Case("infinite memory", "run.memory_gb", "finite", "Mend", {"run": {"memory_gb": float("inf")}}),
    Case("learning rate that is not a number", "fit.learning_rate", "finite", "Mend", {"fit": {"learning_rate": float("nan")}}),
    Case("no such choice", "fit.mode", "'distill' or 'sds'", "Mend", {"fit": {"mode": "fast"}}),
    Case("no such device", "run.device", "of the form", "auto: CUDA", {"run": {"device": "gpu"}}),
    Case("name that leaves the results folder", "run.name", "of the form", "letters and digits", {"run": {"name": "../corpus"}}),
    Case("name with a space", "run.name", "of the form", "letters and digits", {"run": {"name": "my volume"}}),
    Case("name that is a command", "run.name", "of the form", "letters and digits", {"run": {"name": "$(touch owned)"}}),
    Case("name with a line break", "run.name", "of the form", "letters and digits", {"run": {"name": "corpus\n"}}),
    Case("name that begins with a dash", "run.name", "of the form", "letters and digits", {"run": {"name": "-rf"}}),
    Case("name of 101 letters", "run.name", "at most 100", "Mend", {"run": {"name": "a" * 101}}),
    Case("overlap beyond context", "blocks", "exceeds context_vox 2", "lower overlap", {"blocks": {"context_vox": 2}}),
    Case("percentiles upside down", "intensity", "below high_percentile", "Mend", {"intensity": {"low_percentile": 99.5}}),
    Case("levels of two lengths", "field", "one number each", "Mend", {"field": {"strides_vox": [2, 4], "features": [4]}}),
    Case("odd stride", "field.strides_vox", "odd", "even", {"field": {"strides_vox": [3], "features": [4]}}),
    Case("shard of part of a chunk", "output", "nearest that is: 32", "Mend", {"output": {"chunk_vox": 16, "shard_vox": 40}}),
    Case("patches of 33 voxels", "prior.patch_vox", "multiple of 8", "Mend", {"prior": {"patch_vox": 33}}),
    Case("no steps and no prior", "prior", "no init", "prior.init", {"prior": {"steps": 0}}),
    Case("one step for two rounds", "prior", "fewer than rounds", "more steps", {"prior": {"steps": 1}}),
    Case("nothing restores", "prior", "restores by its", "set rounds to 1", {"prior": {"posterior_mean_share": 0}}),
    Case("shares beyond a batch", "prior", "exceed 1", "lower one", {"prior": {"unconditional_share": 0.5}}),
    Case(
        "two things wrong",
        "blocks.write_vox",
        "greater",
        "2 more: .*fit.steps",
        {"blocks": {"write_vox": 1, "context_vox": -1}, "fit": {"steps": 0}},
    ),
)

TOGETHER = (
    Case("width of a profile that has none", "measurement.fwhm_nm", "is given but", "drop", {"measurement": {"fwhm_nm": 40}}),
    Case(
        "operator that contradicts the simulated one",
        "measurement.operator",
        "contradicts",
        "null",
        {"source": {"voxel_size_nm": [8, 8, 8], "simulate": {"factor": 4}}, "measurement": {"operator": "skip"}},
    ),
    Case(
        "profile without a file", "measurement.kernel_file", "is needed", "Name the file", {"measurement": {"operator": "kernel"}}
    ),
    Case(
        "file of a profile that is not used",
        "measurement.kernel_file",
        "is given but",
        "drop",
        {"measurement": {"kernel_file": "a.csv"}},
    ),
    Case("profile that is not there", "measurement.kernel_file", "is not there", "Correct the path", {"measurement": KERNEL}),
    Case(
        "profile of words",
        "measurement.kernel_file",
        "line 2",
        "weight",
        {"measurement": KERNEL},
        both(h5(), file("profile.csv", "1\ntwo\n")),
        late=True,
    ),
    Case(
        "profile of zeros",
        "measurement.kernel_file",
        "all its weights are 0",
        "Give the profile",
        {"measurement": KERNEL},
        both(h5(), file("profile.csv", "0\n0\n")),
        late=True,
    ),
    Case(
        "prior that is not there",
        "prior.init",
        "is not a file",
        "prior.safetensors of a run",
        {"prior": {"init": "nowhere.safetensors"}},
        commands=("plan", "train"),
    ),
    Case(
        "prior that is none",
        "prior checkpoint",
        "cannot be read",
        "prior.init",
        {"prior": {"init": "prior.safetensors"}},
        both(h5(), file("prior.safetensors", b"junk")),
        commands=("plan", "train"),
    ),
    Case(
        "memory of a tenth of a gigabyte",
        "blocks.write_vox",
        "more than the 0.1 GB",
        "raise run.memory_gb",
        {"run": {"memory_gb": 0.1}},
        late=True,
    ),
    Case(
        "output region of parts of shards",
        "output.region_vox",
        "whole shards",
        "give",
        {"output": {"region_vox": [[0, 48], [0, 50], [0, 64]]}},
    ),
    Case(
        "output region beyond the volume",
        "output.region_vox",
        "along y.*end with the volume at 64",
        "give",
        {"output": {"region_vox": [[0, 48], [0, 96], [0, 64]]}},
    ),
    Case(
        "output region that is reversed",
        "output.region_vox",
        "whole shards",
        "give",
        {"output": {"region_vox": [[32, 32], [0, 64], [0, 64]]}},
    ),
    Case(
        "output voxels that are not the source's",
        "output.voxel_size_nm",
        "must be the lateral",
        "null",
        {"output": {"voxel_size_nm": 4}},
    ),
)

CASES = (*FILES, *KEYS, *TOGETHER)
