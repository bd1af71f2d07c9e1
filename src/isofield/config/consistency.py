"""What sections of a configuration say of each other: which measurement is in force, and contradictions, each with what to do."""

from __future__ import annotations

from isofield.errors import InputError
from isofield.measurement import MeasurementSpec, Operator
from isofield.prior.spec import PriorSpec
from isofield.source.spec import KernelFile, SourceSpec


def require_consistent(source: SourceSpec, measurement: MeasurementSpec, prior: PriorSpec) -> None:
    """Raises InputError for the first contradiction."""
    simulate, operator = source.simulate, operator_in_force(source, measurement)
    if simulate and measurement.operator and measurement.operator != simulate.operator:
        limit = f"contradicts source.simulate.operator {simulate.operator!r}"
        raise InputError("measurement.operator", measurement.operator, limit, "Leave measurement.operator null")
    if measurement.fwhm_nm and operator != "gaussian":
        limit = f"is given but the operator is {operator!r}"
        raise InputError("measurement.fwhm_nm", measurement.fwhm_nm, limit, "Set measurement.operator: gaussian, or drop fwhm_nm")
    if measurement.objective:
        _check_objective(measurement, operator)
    _check_kernels(source, measurement)
    _check_channels(source, prior)


def operator_in_force(source: SourceSpec, measurement: MeasurementSpec) -> Operator:
    """The measurement operator: as configured, else the simulated one, else section averages."""
    return measurement.operator or (source.simulate.operator if source.simulate else "section")


def kernel_in_force(source: SourceSpec, measurement: MeasurementSpec) -> KernelFile | None:
    """The file with the axial profile of operator kernel: the simulated one, else as configured. None if there is none."""
    if source.simulate and source.simulate.kernel:
        return source.simulate.kernel
    return KernelFile("measurement", measurement.kernel_file, measurement.kernel_voxel_nm) if measurement.kernel_file else None


def _check_objective(measurement: MeasurementSpec, operator: Operator) -> None:
    """An objective is given where the profile is gaussian and nothing else says how wide."""
    key, shown = "measurement.objective", measurement.objective.model_dump()  # type: ignore[union-attr]
    if operator != "gaussian":
        raise InputError(
            key, shown, f"is given but the operator is {operator!r}", "Set measurement.operator: gaussian, or drop it"
        )
    if measurement.fwhm_nm:
        raise InputError(key, shown, f"is given beside measurement.fwhm_nm {measurement.fwhm_nm:g}", "Drop one of the two")


def _check_channels(source: SourceSpec, prior: PriorSpec) -> None:
    """A prior that channels share is that of one of them."""
    if prior.channel is None:
        return
    if not source.has_several:
        limit = f"is for several channels, source.channel is {source.channel}"
        raise InputError("prior.channel", prior.channel, limit, "Leave it null, or name several channels in source.channel")
    if source.channel != "all" and prior.channel not in source.channel:  # type: ignore[operator]
        limit = f"is none of those in source.channel, {list(source.channel)}"  # type: ignore[arg-type]
        raise InputError("prior.channel", prior.channel, limit, "Name one of them, or leave it null")


def _check_kernels(source: SourceSpec, measurement: MeasurementSpec) -> None:
    """A kernel file is given where the operator is kernel and nowhere else; the one simulated with is the one measured with."""
    operator, simulate = operator_in_force(source, measurement), source.simulate
    if operator == "kernel" and not kernel_in_force(source, measurement):
        key = "source.simulate.kernel_file" if simulate else "measurement.kernel_file"
        raise InputError(key, None, "is needed by the operator 'kernel'", "Name the file with the axial profile")
    for section, spec in (("source.simulate", simulate), ("measurement", measurement)):
        for key in ("kernel_file", "kernel_voxel_nm"):
            value = getattr(spec, key, None)
            if value and operator != "kernel":
                remedy = f"Set {section}.operator: kernel, or drop {key}"
                raise InputError(f"{section}.{key}", value, f"is given but the operator is {operator!r}", remedy)
            if value and simulate and value != getattr(simulate, key):
                limit = f"contradicts source.simulate.{key} {getattr(simulate, key)!r}"
                raise InputError(f"{section}.{key}", value, limit, f"Leave {section}.{key} null")
