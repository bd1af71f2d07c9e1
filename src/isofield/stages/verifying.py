"""Stage verify: a run is read back, and what is wrong is said, written down and, if asked, removed."""

from __future__ import annotations

import time
from typing import Any

from isofield.config import Sections
from isofield.errors import InputError, storage_problem
from isofield.fieldstore import FieldStore
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import say
from isofield.records import publish_json_if_changed, read_json, write_json
from isofield.stages.reading_back import ReadBack
from isofield.status import fitted_store
from isofield.storage.place import place_of
from isofield.verify.finding import Finding, files_of
from isofield.verify.repair import repair
from isofield.verify.spec import VerifySpec
from isofield.verify.verification import Verification


def verify_run(paths: RunPaths, config: Sections | None, spec: VerifySpec, n_threads: int, *, mend: bool = False) -> Verification:
    """Read a run back and publish what was found as verify.json; a run without fault gets its record.

    config: the sections that stage verify reads; None: not known, nothing is computed anew. mend: remove what is wrong.
    """
    begun = time.monotonic()
    found = Verification(str(paths.root))
    plan, store, files = _planned(paths, found), _store(paths), {}
    place = place_of(paths.store, "output.path")
    if plan is not None:
        back = ReadBack(plan, paths, place, store, config, found)
        files = back.files | back.of_labels
        back.check(spec, n_threads)
        if spec.recompute_blocks:
            _recompute(plan, paths, config, store, spec.recompute_blocks, found)
    if mend:
        found.repaired = repair(found.findings, paths, place, files, store)
    found.seconds = round(time.monotonic() - begun, 3)
    found.recorded = _publish(paths, config, spec, found)
    return found


def _planned(paths: RunPaths, found: Verification) -> Plan | None:
    if not paths.root.is_dir():
        raise InputError("run", str(paths.root), "is not a folder", "Give the results folder of a run, such as results/demo")
    try:
        return Plan.load(paths.plan)
    except InputError as error:
        if not paths.plan.exists():
            raise InputError(
                "plan", str(paths.plan), "does not exist", "Give the results folder of a run that has begun"
            ) from None
        found.findings.append(Finding("plan", error.limit, str(paths.plan), repairs=files_of(paths.plan)))
        found.skipped.append("everything else: it is checked against the plan")
        return None


def _store(paths: RunPaths) -> FieldStore | None:
    try:
        return fitted_store(paths)
    except (InputError, KeyError, TypeError):
        return None


def _recompute(
    plan: Plan, paths: RunPaths, config: Sections | None, store: FieldStore | None, n: int, found: Verification
) -> None:
    if config is None:
        found.skipped.append("blocks computed anew: the configuration is not known, give it instead of the results folder")
        return
    if store is None:
        found.skipped.append("blocks computed anew: there is no fit")
        return
    from isofield.stages.recomputing import recompute

    again = recompute(config, plan, paths, store, n)
    found.findings += again.findings
    found.notes += again.notes
    if again.reason:
        found.skipped.append(f"blocks computed anew: {again.reason}")
    found.checked["recomputed"] = again.blocks
    found.checked["recomputed_equal"] = again.n_equal


def _publish(paths: RunPaths, config: Sections | None, spec: VerifySpec, found: Verification) -> bool:
    """Write what was found; whether what the rule waits for is there. A run that may only be read is verified all the same."""
    given = config.given() if config else known_config(paths)
    recorded, problem = True, None
    try:
        write_json(paths.verification, {**found.to_dict(), "config": given})
    except OSError as error:
        problem = error
    if found.ok and config is not None and spec == config.verify:
        try:
            # What says the same keeps its time: tidy follows from it.
            publish_json_if_changed(paths.verified, {"made_from": config.mark})
        except OSError as error:
            recorded, problem = False, error
    if problem:
        say(f"verify: what was found could not be written: {storage_problem(problem) or problem}")
    return recorded


def known_config(paths: RunPaths) -> dict[str, Any] | None:
    """The configuration that the last verification was given; None if there was none."""
    try:
        known = read_json(paths.verification).get("config")
    except (InputError, AttributeError):
        return None
    return known if isinstance(known, dict) else None
