"""Stage verify: a run is read back, and what is wrong is said, written down and, if asked, removed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from isofield.config import Sections
from isofield.errors import InputError, storage_problem
from isofield.fieldstore import FieldStore
from isofield.geometry import Roi
from isofield.omezarr import labels
from isofield.omezarr.layout import n_levels
from isofield.omezarr.readback import Level
from isofield.omezarr.regions import others
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import canvas_files
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import Progress, say
from isofield.records import PARTIAL, publish_json_if_changed, read_json, write_json
from isofield.stages.imaging import owner
from isofield.status import fitted_store
from isofield.storage.place import Place, place_of
from isofield.storage.uri import is_remote
from isofield.verify.expected import Vouched
from isofield.verify.finding import Finding, Repair, files_of
from isofield.verify.image import HIGHEST, ImageCheck, Looked, blamed_once
from isofield.verify.metadata import check_label_metadata, check_metadata, installed_validators
from isofield.verify.records import RecordCheck, check_files
from isofield.verify.repair import repair
from isofield.verify.spec import VerifySpec
from isofield.verify.verification import Verification


def verify_run(paths: RunPaths, config: Sections | None, spec: VerifySpec, n_threads: int, *, mend: bool = False) -> Verification:
    """Read a run back and publish what was found as verify.json; a run without fault gets its record.

    config: the sections that stage verify reads; None: not known, nothing is computed anew. mend: remove what is wrong.
    """
    begun = time.monotonic()
    found = Verification(str(paths.root))
    plan, store, files, of_labels = _planned(paths, found), _store(paths), {}, {}
    place = place_of(paths.store, "output.path")
    if plan is not None:
        seed = config.run.seed if config else 0
        files, of_labels = _canvas(plan, paths, config, found)
        exact = config is not None and config.run.device == "cpu"
        _check(plan, paths, store, place, files, of_labels, spec, seed, n_threads, exact, found)
        if spec.recompute_blocks:
            _recompute(plan, paths, config, store, spec.recompute_blocks, found)
    if mend:
        found.repaired = repair(found.findings, paths, place, files | of_labels, store)
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


def _made_from(paths: RunPaths, store: FieldStore | None) -> dict[str, str]:
    """Fingerprints of the fit and the prior that the run has."""
    known = {"fit": store.fingerprint} if store else {}
    try:
        return known | {"prior": str(read_json(paths.prior_facts)["fingerprint"])}
    except (InputError, KeyError, TypeError):
        return known


def _canvas(
    plan: Plan, paths: RunPaths, config: Sections | None, found: Verification
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What the metadata of the image and of its labels should be, by the output settings it was made with; empty where these are
    not known."""
    spec = None
    try:
        spec = OutputSpec.model_validate(read_json(paths.canvas)["output"])
    except (InputError, ValidationError, KeyError, TypeError):
        spec = config.output if config else None
    if spec is None:
        found.skipped.append(f"the image: {paths.canvas}, which says how it is stored, cannot be read")
        return {}, {}
    where = {"voxel_size_nm": (plan.voxel_size_nm,) * 3, "origin_nm": plan.origin_nm, "n_channels": spec.n_channels}
    return canvas_files(plan.shape, plan.dtype, spec, **where), labels.label_files(plan.shape, spec, **where)


def _check(
    plan: Plan,
    paths: RunPaths,
    store: FieldStore | None,
    place: Place,
    files: Mapping[str, bytes],
    of_labels: Mapping[str, bytes],
    spec: VerifySpec,
    seed: int,
    n_threads: int,
    exact: bool,
    found: Verification,
) -> None:
    made = (plan.jobs.region or plan.block_grid.bounds).volume
    share = 1.0 if spec.max_vox is None else min(1.0, spec.max_vox / (made * 8 / 7))
    records = RecordCheck(plan, paths, store, drawn(share, seed, "fit"), exact)
    found.findings += [*records.run(), *check_files(plan, paths)]
    found.checked |= {"blocks": records.n_states, "fields_mb": records.n_field_bytes / 1e6}
    if records.n_tidied:
        found.notes.append(f"the fields of {records.n_tidied} of {plan.n_fit_jobs} fit jobs were removed after blending")
    if not paths.finish.exists():
        found.notes.append("the run has not come to its end: what is missing may not have been made yet")
    if not files:
        return
    found.findings += check_metadata(plan, paths, place, files, _made_from(paths, store))
    found.checked["validators"] = installed_validators()
    if not found.checked["validators"]:
        found.skipped.append("metadata by independent validators: neither yaozarrs nor ome-zarr-models is installed")
    levels = [Level(place, number, files, paths.channel) for number in range(n_levels(files))]
    unfinished = _unfinished(paths, found)
    check = ImageCheck(plan, paths, levels, records.vouched, drawn(share, seed, "image"), unfinished=unfinished)
    begun, total, progress = time.monotonic(), Looked(), Progress("verify", check.n_tasks, "groups of shards")
    for n, looked in enumerate(check.run(n_threads), start=1):
        total.add(looked)
        progress.update(n)
    seconds = max(time.monotonic() - begun, 1e-6)
    found.findings += blamed_once(total.findings)
    n_bytes = total.n_vox * levels[0].dtype.itemsize
    found.checked |= {
        **{name: getattr(total, name) for name in ("n_shards", "n_decoded", "n_compared_vox", "n_waiting")},
        **{"image_mb": n_bytes / 1e6, "stored_mb": total.n_bytes / 1e6, "image_s": seconds, "mb_per_s": n_bytes / 1e6 / seconds},
        "threads": n_threads,
    }
    _say_what_not(plan, place, total, share, levels, files, found)
    if records.has_labels:
        _check_labels(plan, paths, place, of_labels, records.labelled, drawn(share, seed, "image"), n_threads, unfinished, found)
    else:
        found.skipped.append("labels: no record speaks of them")


def _unfinished(paths: RunPaths, found: Verification) -> list[Roi]:
    """Parts of the image, or of this channel of it, that other runs have claimed and not come to the end of."""
    try:
        claims = others(paths.store, owner(paths)) if paths.image else []
        return [claim.roi for claim in claims if not claim.finished and claim.channel == paths.channel]
    except InputError as error:
        found.findings.append(Finding("metadata", f"the {error.thing} {error.limit}. {error.remedy}", str(error.value)))
        return []


def _check_labels(
    plan: Plan,
    paths: RunPaths,
    place: Place,
    files: Mapping[str, bytes],
    vouched: Vouched,
    chosen: Callable[..., bool],
    n_threads: int,
    unfinished: list[Roi],
    found: Verification,
) -> None:
    found.findings += check_label_metadata(paths, place, files)
    folder, total = f"{labels.FOLDER}/{labels.NAME}/", Looked()
    own = {key.removeprefix(folder): data for key, data in files.items() if key.startswith(folder)}
    labelled = place / labels.FOLDER / labels.NAME
    levels = [Level(labelled, number, own, paths.channel) for number in range(n_levels(own))]
    for looked in ImageCheck(plan, paths, levels, vouched, chosen, HIGHEST, folder, unfinished).run(n_threads):
        total.add(looked)
    found.findings += blamed_once(total.findings)
    found.checked["labels"] = {"n_shards": total.n_shards, "n_decoded": total.n_decoded}


def _say_what_not(
    plan: Plan,
    place: Place,
    total: Looked,
    share: float,
    levels: list[Level],
    files: Mapping[str, bytes],
    found: Verification,
) -> None:
    if share < 1:
        left = total.n_shards - total.n_decoded
        found.skipped.append(
            f"what {left} of {total.n_shards} shards hold: verify.max_vox allows {share:.1%} of the image; they were looked for"
        )
    if plan.region is not None:
        found.skipped.append("what other runs make of the image: verify each of them")
    if total.n_waiting:
        found.skipped.append(f"{total.n_waiting} shards of coarser levels over parts that other runs have yet to make")
    if is_remote(str(place)):
        found.notes.append("the image lies in an object store: each shard of level 0 was fetched once, coarser ones twice")
    names = {str(level.number) for level in levels}
    for key in place.keys():  # noqa: SIM118  (not a mapping)
        if key.split("/")[0] not in names or key in files or any(level.is_shard_key(key) for level in levels):
            continue
        if key.endswith(PARTIAL):
            found.notes.append(f"{place.locate(key)} is what a killed writer left, or of one at work; canvas removes it")
        else:
            about = (Repair("image", key),)
            found.findings.append(Finding("stray", "belongs to no shard of the image", place.locate(key), repairs=about))


def drawn(share: float, seed: int, what: str) -> Callable[..., bool]:
    """Whether something, named by the arguments, is in a sample of this share; the same for the same seed."""

    def chosen(*names: object) -> bool:
        if share >= 1:
            return True
        digest = hashlib.sha256(f"{seed}/{what}/{names}".encode()).digest()
        return int.from_bytes(digest[:8], "little") < share * 2**64

    return chosen


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
