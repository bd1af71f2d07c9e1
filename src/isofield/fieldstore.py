"""The fields of a run and what is known of each: some loose while their job runs, one file per job once it is complete.

A volume of a million blocks would be two million files; quotas and file systems break long before. So a job packs its blocks
into `blocks-<first>-<stop>.pack`, portion by portion while it runs and all in one once it is complete, and when the image is made
`tidy` leaves the records of it alone, `blocks-<first>-<stop>.records`. A block that is fitted again lies loose beside the pack
until its job packs anew; what is loose counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from isofield.blockrecords import BlockRecord, BlockState, RecordStore
from isofield.records import fingerprint as fingerprint_of
from isofield.records import fsync_dir, publishing, sha256_file

FORMAT = "isofield-pack-1"
PACK, RECORDS = ".pack", ".records"
KEPT_PACKS = 16
"""Tables of contents that a store keeps in memory: a blend job meets few packs, status passes each once."""


@dataclass(frozen=True)
class Pack:
    """Records of consecutive blocks, followed by their payloads unless those were tidied away.

    A file is the length of its table of contents (8 bytes, little endian), the table as JSON, and the payloads in the table's
    order. `offsets` are positions in the file.
    """

    path: Path
    size: int
    entries: Mapping[int, dict[str, Any]] = field(repr=False)
    offsets: Mapping[int, int] = field(repr=False)

    @classmethod
    def open(cls, path: Path, fingerprint: str) -> Pack | None:
        """The pack at `path`; None if it is absent, damaged, cut off or of another fingerprint."""
        try:
            with open(path, "rb") as file:
                n_table, n_file = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
                about = json.loads(file.read(n_table)) if n_table < n_file else {}
            if (about["format"], about["fingerprint"]) != (FORMAT, fingerprint):
                return None
            if about.get("checksum") not in (None, fingerprint_of(about["records"])):
                return None
            entries = {int(entry["block_id"]): entry for entry in about["records"]}
            ends = list(accumulate((entry.get("field_bytes", 0) for entry in entries.values()), initial=8 + n_table))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return cls(path, n_file, entries, dict(zip(entries, ends, strict=False)))

    @property
    def has_payloads(self) -> bool:
        return self.path.suffix == PACK

    def record(self, index: int, fingerprint: str) -> BlockRecord | None:
        entry = self.entries.get(index)
        try:
            return None if entry is None else BlockRecord.model_validate({**entry, "fingerprint": fingerprint})
        except ValidationError:
            return None

    def state(self, index: int) -> BlockState | Literal["missing"]:
        """The record's word, but "missing" where the file ends before the field that it speaks of."""
        entry = self.entries[index]
        cut = self.has_payloads and self.offsets[index] + entry.get("field_bytes", 0) > self.size
        return "missing" if cut else entry.get("state", "missing")

    def payload(self, index: int) -> bytes | None:
        """Bytes of the field of a block, as they lie there; None without one."""
        n_bytes = self.entries.get(index, {}).get("field_bytes", 0)
        if not n_bytes or not self.has_payloads:
            return None
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offsets[index])
                return file.read(n_bytes)
        except FileNotFoundError:
            return None


def pack_span(path: Path) -> range | None:
    """Blocks that a file of this name speaks of; None for other files."""
    kind, _, span = path.stem.partition("-")
    first, _, stop = span.partition("-")
    if path.suffix not in (PACK, RECORDS) or kind != "blocks" or not (first.isdigit() and stop.isdigit()):
        return None
    return range(int(first), int(stop))


class FieldStore:
    """Records and fields of all blocks of one fingerprint, in `folder/<first 16 digits of it>/`."""

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str) -> None:
        self.loose = RecordStore(folder, fingerprint)
        self.fingerprint, self.folder = fingerprint, self.loose.folder
        self._spans: dict[Path, range] | None = None
        self._opened: OrderedDict[Path, Pack | None] = OrderedDict()

    def pack_path(self, blocks: Sequence[int]) -> Path:
        """The pack of `blocks`, ascending numbers, named after the first and the one after the last."""
        return self.folder / f"blocks-{blocks[0]:07d}-{blocks[-1] + 1:07d}{PACK}"

    def publish(self, record: BlockRecord, payload: bytes | None) -> BlockRecord:
        """Publish one block, loose; see `RecordStore.publish`."""
        return self.loose.publish(record, payload)

    def read(self, index: int) -> BlockRecord | None:
        """The block's record, loose or packed; None if there is none."""
        record = self.loose.read(index)
        if record is not None:
            return record
        pack = self._pack_of(index)
        return pack.record(index, self.fingerprint) if pack else None

    def state(self, index: int) -> BlockState | Literal["missing"]:
        """What became of the block. A field that was tidied away counts as it was, one that is lost as missing."""
        if self.loose.read(index) is not None:
            return self.loose.state(index)
        pack = self._pack_of(index)
        return pack.state(index) if pack else "missing"

    def sound(self, index: int, without_field: Container[str] = ("skipped",)) -> bool:
        """Whether nothing has to be done to have this block: in a state that needs no field, or done with one that is whole."""
        record = self.read(index)
        if record is None or record.state in without_field:
            return record is not None
        return record.state == "done" and self.payload(index) is not None

    def payload(self, index: int) -> bytes | None:
        """The field of a block, whole (its SHA-256 is the recorded one); None if it is not there or damaged."""
        record = self.loose.read(index)
        data = None
        if record is not None:
            with suppress(FileNotFoundError):
                data = self.loose.payload_path(index).read_bytes()
        elif pack := self._pack_of(index):
            record, data = pack.record(index, self.fingerprint), pack.payload(index)
        if record is None or data is None or hashlib.sha256(data).hexdigest() != record.field_sha256:
            return None
        return data

    def withdraw(self, index: int) -> None:
        """Forget a block whose field is damaged, wherever it lies: the pack that holds it is written anew without it."""
        self.loose.withdraw(index)
        self.refresh()
        pack = self._pack_of(index)
        if pack is not None:
            whole = (i for i, entry in pack.entries.items() if entry.get("state") != "done" or self.payload(i))
            others = [i for i in (whole if pack.has_payloads else pack.entries) if i != index]
            self._write(pack.path, others, {}, pack.has_payloads)
            self.refresh()

    def pack(self, blocks: Sequence[int], skipped: Iterable[BlockRecord] = ()) -> dict[str, object]:
        """Publish one file with all `blocks` (ascending), then remove what lies loose; returns its name, size and SHA-256.

        skipped: records that were never published, for blocks with nothing to fit. Raises ValueError if a block has no
        record, or is done and has no whole field.
        """
        extra = {record.block_id: record for record in skipped}
        loose = [i for i in blocks if self.loose.read(i) is not None]
        path = self.pack_path(blocks)
        self.refresh()
        there, older, parts = self._open(path), False, []
        for other, span in self._listed().items():
            if other == path:
                older = bool(parts)
            elif blocks[0] <= span.start and span.stop <= blocks[-1] + 1:
                held = Pack.open(other, self.fingerprint)
                parts += [other] if held and held.entries.keys() <= set(blocks) else []
        # A pack that is older than one of a part of it lacks what was fitted again meanwhile.
        if loose or older or there is None or there.entries.keys() != set(blocks):
            self._write(path, blocks, extra, with_payloads=True)
        # Packs of portions and of jobs that held fewer blocks are in this one now; so are records whose fields were tidied away.
        for part in parts:
            part.unlink(missing_ok=True)
        self._remove_loose(blocks)
        return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}

    def pack_portion(self, blocks: Sequence[int]) -> None:
        """Publish one file with those of `blocks` (ascending) that are whole, then remove what lies loose of them.

        What a file of the same span already holds stays in it.
        """
        path = self.pack_path(blocks)
        there = Pack.open(path, self.fingerprint)
        held = {*blocks, *(there.entries if there else ())}
        whole = [i for i in sorted(held) if self.sound(i, without_field=("skipped", "failed", "fallback"))]
        self._write(path, whole, {}, with_payloads=True)
        self._remove_loose(sorted(set(blocks).intersection(whole)))

    def _remove_loose(self, blocks: Sequence[int]) -> None:
        self.refresh()
        for index in self.lying_loose(blocks):
            self.loose.withdraw(index)

    def lying_loose(self, blocks: Sequence[int]) -> list[int]:
        """Those of `blocks` of which a file lies loose: a field without its record, too, if its removal was interrupted."""
        with suppress(FileNotFoundError):
            names = {name.split(".")[0] for name in os.listdir(self.folder)}
            return [i for i in blocks if self.loose.record_path(i).stem in names]
        return []

    def tidy(self) -> int:
        """Leave the records and remove the fields of all packs; returns the bytes set free."""
        freed = 0
        for path in [p for p in self._listed() if p.suffix == PACK]:
            pack = Pack.open(path, self.fingerprint)
            if pack is None:
                continue
            before = path.stat().st_size
            kept = path.with_suffix(RECORDS)
            self._write(kept, list(pack.entries), {}, with_payloads=False)
            path.unlink()
            freed += before - kept.stat().st_size
        fsync_dir(self.folder)
        self.refresh()
        return freed

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(block, its record as a mapping, with its `state`) of every block there is word of, each once."""
        seen = set()
        for path in sorted(self.folder.glob("block-*.json")):
            index = int(path.stem.removeprefix("block-"))
            record = self.loose.read(index)
            if record is not None:
                seen.add(index)
                yield index, {**record.model_dump(), "state": self.loose.state(index)}
        for path in self._listed():
            pack = Pack.open(path, self.fingerprint)
            for index in pack.entries.keys() - seen if pack else ():
                yield index, {**pack.entries[index], "state": pack.state(index)}  # type: ignore[union-attr]
            seen.update(pack.entries if pack else ())

    def refresh(self) -> None:
        """Look again which packs there are."""
        self._spans = None
        self._opened.clear()

    def _write(self, path: Path, blocks: Sequence[int], extra: Mapping[int, BlockRecord], with_payloads: bool) -> None:
        """Write a pack in one pass, holding one field at a time, and publish it by a rename."""
        records = [extra[i] if i in extra else self.read(i) for i in blocks]
        lacking = [i for i, record in zip(blocks, records, strict=True) if record is None]
        if lacking:
            raise ValueError(f"no record of blocks {lacking[:10]}")
        table = [record.model_dump(exclude={"fingerprint"}, exclude_defaults=True) for record in records if record]
        about = {"format": FORMAT, "fingerprint": self.fingerprint, "checksum": fingerprint_of(table), "records": table}
        text = json.dumps(about, separators=(",", ":")).encode()
        with publishing(path) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for record in records if with_payloads else ():
                if record and record.field_bytes:
                    data = self.payload(record.block_id)
                    if data is None:
                        raise ValueError(f"the field of block {record.block_id} is damaged")
                    file.write(data)

    def _listed(self) -> dict[Path, range]:
        """Packs and the blocks they speak of; those with fields before those of records alone, then the latest first."""
        if self._spans is None:
            found = []
            with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
                for entry in entries:
                    span = pack_span(Path(entry.name))
                    if span is not None:
                        found.append((entry.name.endswith(RECORDS), -entry.stat().st_mtime_ns, entry.name, span))
            self._spans = {self.folder / name: span for _, _, name, span in sorted(found, key=lambda f: f[:3])}
        return self._spans

    def _pack_of(self, index: int) -> Pack | None:
        """The pack that holds the block."""
        for path, span in self._listed().items():
            if index in span:
                pack = self._open(path)
                if pack and index in pack.entries:
                    return pack
        return None

    def _open(self, path: Path) -> Pack | None:
        if path not in self._opened:
            while len(self._opened) >= KEPT_PACKS:
                self._opened.popitem(last=False)
            self._opened[path] = Pack.open(path, self.fingerprint)
        self._opened.move_to_end(path)
        return self._opened[path]
