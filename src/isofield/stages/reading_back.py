"""What is stored of a run, read back against its plan: records and fields, the image's metadata and shards, its labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from pydantic import ValidationError

from isofield.config import Sections
from isofield.errors import InputError
from isofield.fieldstore import FieldStore
from isofield.geometry import Roi
from isofield.omezarr import labels
from isofield.omezarr.canvas import canvas_files
from isofield.omezarr.layout import n_levels
from isofield.omezarr.readback import Level
from isofield.omezarr.regions import others
from isofield.omezarr.spec import OutputSpec
from isofield.paths import RunPaths
from isofield.plan import Plan
from isofield.progress import Progress
from isofield.records import PARTIAL, read_json
from isofield.stages.imaging import owner
from isofield.storage.place import Place
from isofield.storage.uri import is_remote
from isofield.verify.expected import Vouched
from isofield.verify.finding import Finding, Repair
from isofield.verify.image import HIGHEST, ImageCheck, Looked, blamed_once
from isofield.verify.metadata import check_label_metadata, check_metadata, installed_validators
from isofield.verify.records import RecordCheck, check_files
from isofield.verify.spec import VerifySpec
from isofield.verify.verification import Verification


class ReadBack:
    """Reads a run back and adds what it finds to `found`.

    config: the sections that stage verify reads; None: not known. place: where the image's files lie. files, of_labels: the
    metadata that image and labels should have, by their keys; empty where the settings they were made with are not known.
    """

    def __init__(
        self, plan: Plan, paths: RunPaths, place: Place, store: FieldStore | None, config: Sections | None, found: Verification
    ) -> None:
        self.plan, self.paths, self.place, self.store, self.found = plan, paths, place, store, found
        self.seed = config.run.seed if config else 0
        self.exact = config is not None and config.run.device == "cpu"
        self.files, self.of_labels = self._expected(config)

    def check(self, spec: VerifySpec, n_threads: int) -> None:
        """All of it, or the share of what the image and the fields hold that `spec` allows, drawn by the run's seed."""
        made = (self.plan.jobs.region or self.plan.block_grid.bounds).volume
        share = 1.0 if spec.max_vox is None else min(1.0, spec.max_vox / (made * 8 / 7))
        records = self._records(share)
        if not self.files:
            return
        self._metadata()
        unfinished = self._unfinished()
        self._image(records.vouched, share, unfinished, n_threads)
        if records.has_labels:
            self._labels(records.labelled, share, unfinished, n_threads)
        else:
            self.found.skipped.append("labels: no record speaks of them")

    def _expected(self, config: Sections | None) -> tuple[dict[str, bytes], dict[str, bytes]]:
        plan, spec = self.plan, None
        try:
            spec = OutputSpec.model_validate(read_json(self.paths.canvas)["output"])
        except (InputError, ValidationError, KeyError, TypeError):
            spec = config.output if config else None
        if spec is None:
            self.found.skipped.append(f"the image: {self.paths.canvas}, which says how it is stored, cannot be read")
            return {}, {}
        where = {"voxel_size_nm": (plan.voxel_size_nm,) * 3, "origin_nm": plan.origin_nm, "n_channels": spec.n_channels}
        return canvas_files(plan.shape, plan.dtype, spec, **where), labels.label_files(plan.shape, spec, **where)

    def _records(self, share: float) -> RecordCheck:
        plan, found = self.plan, self.found
        records = RecordCheck(plan, self.paths, self.store, drawn(share, self.seed, "fit"), self.exact)
        found.findings += [*records.run(), *check_files(plan, self.paths)]
        found.checked |= {"blocks": records.n_states, "fields_mb": records.n_field_bytes / 1e6}
        if records.n_tidied:
            found.notes.append(f"the fields of {records.n_tidied} of {plan.n_fit_jobs} fit jobs were removed after blending")
        if not self.paths.finish.exists():
            found.notes.append("the run has not come to its end: what is missing may not have been made yet")
        return records

    def _metadata(self) -> None:
        made_from = {"fit": self.store.fingerprint} if self.store else {}
        with suppress(InputError, KeyError, TypeError):
            made_from["prior"] = str(read_json(self.paths.prior_facts)["fingerprint"])
        self.found.findings += check_metadata(self.plan, self.paths, self.place, self.files, made_from)
        self.found.checked["validators"] = installed_validators()
        if not self.found.checked["validators"]:
            self.found.skipped.append("metadata by independent validators: neither yaozarrs nor ome-zarr-models is installed")

    def _unfinished(self) -> list[Roi]:
        """Parts of the image, or of this channel of it, that other runs have claimed and not come to the end of."""
        paths = self.paths
        try:
            claims = others(paths.store, owner(paths)) if paths.image else []
            return [claim.roi for claim in claims if not claim.finished and claim.channel == paths.channel]
        except InputError as error:
            about = f"the {error.thing} {error.limit}. {error.remedy}"
            self.found.findings.append(Finding("metadata", about, str(error.value)))
            return []

    def _image(self, vouched: Vouched, share: float, unfinished: list[Roi], n_threads: int) -> None:
        found = self.found
        levels = self._levels(self.place, self.files)
        chosen = drawn(share, self.seed, "image")
        check = ImageCheck(self.plan, self.paths, levels, vouched, chosen, unfinished=unfinished)
        begun, total, progress = time.monotonic(), Looked(), Progress("verify", check.n_tasks, "groups of shards")
        for n, looked in enumerate(check.run(n_threads), start=1):
            total.add(looked)
            progress.update(n)
        seconds = max(time.monotonic() - begun, 1e-6)
        found.findings += blamed_once(total.findings)
        n_bytes = total.n_vox * levels[0].dtype.itemsize
        speed = {"image_s": seconds, "mb_per_s": n_bytes / 1e6 / seconds, "threads": n_threads}
        found.checked |= {
            **{name: getattr(total, name) for name in ("n_shards", "n_decoded", "n_compared_vox", "n_waiting")},
            **{"image_mb": n_bytes / 1e6, "stored_mb": total.n_bytes / 1e6, **speed},
        }
        self._say_what_not(total, share)
        self._strays(levels)

    def _labels(self, vouched: Vouched, share: float, unfinished: list[Roi], n_threads: int) -> None:
        self.found.findings += check_label_metadata(self.paths, self.place, self.of_labels)
        folder, total = f"{labels.FOLDER}/{labels.NAME}/", Looked()
        own = {key.removeprefix(folder): data for key, data in self.of_labels.items() if key.startswith(folder)}
        levels = self._levels(self.place / labels.FOLDER / labels.NAME, own)
        chosen = drawn(share, self.seed, "image")
        check = ImageCheck(self.plan, self.paths, levels, vouched, chosen, HIGHEST, folder, unfinished)
        for looked in check.run(n_threads):
            total.add(looked)
        self.found.findings += blamed_once(total.findings)
        self.found.checked["labels"] = {"n_shards": total.n_shards, "n_decoded": total.n_decoded}

    def _levels(self, place: Place, files: Mapping[str, bytes]) -> list[Level]:
        return [Level(place, number, files, self.paths.channel) for number in range(n_levels(files))]

    def _say_what_not(self, total: Looked, share: float) -> None:
        found = self.found
        if share < 1:
            left = f"what {total.n_shards - total.n_decoded} of {total.n_shards} shards hold"
            found.skipped.append(f"{left}: verify.max_vox allows {share:.1%} of the image; they were looked for")
        if self.plan.region is not None:
            found.skipped.append("what other runs make of the image: verify each of them")
        if total.n_waiting:
            found.skipped.append(f"{total.n_waiting} shards of coarser levels over parts that other runs have yet to make")
        if is_remote(str(self.place)):
            found.notes.append("the image lies in an object store: each shard of level 0 was fetched once, coarser ones twice")

    def _strays(self, levels: list[Level]) -> None:
        """Files in the folders of the levels that belong to no shard."""
        names = {str(level.number) for level in levels}
        for key in self.place.keys():  # noqa: SIM118  (not a mapping)
            if key.split("/")[0] not in names or key in self.files or any(level.is_shard_key(key) for level in levels):
                continue
            where = self.place.locate(key)
            if key.endswith(PARTIAL):
                self.found.notes.append(f"{where} is what a killed writer left, or of one at work; canvas removes it")
            else:
                about = (Repair("image", key),)
                self.found.findings.append(Finding("stray", "belongs to no shard of the image", where, repairs=about))


def drawn(share: float, seed: int, what: str) -> Callable[..., bool]:
    """Whether something, named by the arguments, is in a sample of this share; the same for the same seed."""

    def chosen(*names: object) -> bool:
        if share >= 1:
            return True
        digest = hashlib.sha256(f"{seed}/{what}/{names}".encode()).digest()
        return int.from_bytes(digest[:8], "little") < share * 2**64

    return chosen
