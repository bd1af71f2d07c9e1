"""The keys of operator kernel: what contradicts is refused, and which file is in force."""

from __future__ import annotations

import pytest

from isofield.config import make_config
from test_config import MINIMAL, changed, complaint

KERNEL, SIMULATED = (
    {"operator": "kernel", "kernel_file": "psf.csv"},
    {"factor": 4, "operator": "kernel", "kernel_file": "psf.csv"},
)
OTHER_KERNELS = {
    "no file": (
        changed(measurement={"operator": "kernel"}),
        "measurement.kernel_file",
        None,
        "is needed by the operator 'kernel'",
    ),
    "no file to simulate with": (
        changed(source={"simulate": {"factor": 4, "operator": "kernel"}}),
        "source.simulate.kernel_file",
        None,
        "is needed by the operator 'kernel'",
    ),
    "a file for nothing": (
        changed(measurement={"kernel_file": "psf.csv"}),
        "measurement.kernel_file",
        "psf.csv",
        "is given but the operator is 'section'",
    ),
    "a file for another operator": (
        changed(measurement={**KERNEL, "operator": "gaussian"}),
        "measurement.kernel_file",
        "psf.csv",
        "is given but the operator is 'gaussian'",
    ),
    "a file for another simulation": (
        changed(source={"simulate": {**SIMULATED, "operator": "skip"}}),
        "source.simulate.kernel_file",
        "psf.csv",
        "is given but the operator is 'skip'",
    ),
    "a voxel size for nothing": (
        changed(measurement={"kernel_voxel_nm": [9, 4, 4]}),
        "measurement.kernel_voxel_nm",
        (9, 4, 4),
        "is given but the operator is 'section'",
    ),
    "two files": (
        changed(source={"simulate": SIMULATED}, measurement={"kernel_file": "other.csv"}),
        "measurement.kernel_file",
        "other.csv",
        "contradicts source.simulate.kernel_file 'psf.csv'",
    ),
    "a width beside the file": (
        changed(measurement={**KERNEL, "fwhm_nm": 3}),
        "measurement.fwhm_nm",
        3,
        "is given but the operator is 'kernel'",
    ),
}


@pytest.mark.parametrize("way", OTHER_KERNELS)
def test_kernel_files_that_do_not_go_with_the_operator_are_refused(way):
    values, thing, value, limit = OTHER_KERNELS[way]
    error = complaint(values)
    assert (error.thing, error.value, error.limit) == (thing, value, limit)


def test_the_kernel_in_force_is_the_configured_or_the_simulated_one():
    assert make_config(MINIMAL).kernel is None
    stack = make_config(changed(measurement={**KERNEL, "kernel_voxel_nm": [9, 4, 4]}))
    assert (stack.operator, stack.kernel) == ("kernel", ("measurement", "psf.csv", (9, 4, 4)))
    for same in ({}, {"operator": "kernel"}, KERNEL):
        config = make_config(changed(source={"simulate": SIMULATED}, measurement=same))
        assert (config.operator, config.kernel) == ("kernel", ("source.simulate", "psf.csv", None))
