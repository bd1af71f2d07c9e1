"""Records that say what became of each block, a small file each, beside the field that they speak of."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from isofield.records import fsync_dir, is_whole, sealed, to_plain, without_nan, write_bytes_atomic, write_json
from isofield.spec import Spec

BlockState = Literal["done", "skipped", "failed", "fallback"]


class BlockRecord(Spec):
    """What became of one block; published after everything it speaks of."""

    block_id: int = Field(ge=0, description="the block, as numbered by the plan")
    state: BlockState = Field(
        description="done: fitted; skipped: nothing to fit; failed: given up; fallback: interpolated instead"
    )
    fingerprint: str = Field(min_length=1, description="fingerprint of all that the result depends on")
    field_file: str | None = Field(None, description="file name of the payload, beside the record; null: none")
    field_bytes: int = Field(0, ge=0, description="size of the payload in bytes")
    field_sha256: str | None = Field(None, description="sha256 of the payload, 64 hex digits")
    attempts: int = Field(1, ge=0, description="number of times this block was tried")
    seconds: float = Field(0.0, ge=0, description="wall-clock time spent on this block in s")
    stats: dict[str, float | None] = Field(default_factory=dict, description="figures of the fit; null: not a finite number")
    message: str | None = Field(None, description="why the block was skipped, failed or filled")

    @property
    def mark(self) -> str:
        """What the values of the block depend on: how they came to be, and the field."""
        return f"{self.state}:{self.field_sha256}"

    @field_validator("stats", mode="before")
    @classmethod
    def _finite_or_null(cls, value: Any) -> Any:
        # A fit that diverged has NaN figures, and its record is the one that must not be lost.
        return without_nan(to_plain(value))


class RecordStore:
    """Records and payloads of all blocks of one fingerprint, in `folder/<first 16 digits of it>/`.

    A payload is published first, its record last, both atomically: a record that can be read speaks of a
    payload that is there. A writer may be killed at any point: its block is then missing or as it was.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, payload_suffix: str = ".safetensors") -> None:
        self.fingerprint = fingerprint
        self.folder = Path(folder) / fingerprint[:16]
        self.payload_suffix = payload_suffix

    def record_path(self, block_id: int) -> Path:
        return self.folder / f"block-{block_id:06d}.json"

    def payload_path(self, block_id: int) -> Path:
        return self.folder / f"block-{block_id:06d}{self.payload_suffix}"

    def publish(self, record: BlockRecord, payload: bytes | None) -> BlockRecord:
        """Publish payload, then record; returns the record with the payload's name, size and sha256 set.

        Raises ValueError for a record of another fingerprint, and for a done block without a payload.
        """
        if record.fingerprint != self.fingerprint:
            raise ValueError(f"record of fingerprint {record.fingerprint}, store of {self.fingerprint}")
        if record.state == "done" and payload is None:
            raise ValueError(f"block {record.block_id} is done but has no payload")
        path = self.payload_path(record.block_id)
        record = record.model_copy(
            update={
                "field_file": None if payload is None else path.name,
                "field_bytes": 0 if payload is None else len(payload),
                "field_sha256": None if payload is None else hashlib.sha256(payload).hexdigest(),
            }
        )
        # An earlier record must not vouch, even for a moment, for the new payload.
        self.withdraw(record.block_id)
        if payload is not None:
            write_bytes_atomic(path, payload)
        write_json(self.record_path(record.block_id), sealed(record))
        return record

    def read(self, block_id: int) -> BlockRecord | None:
        """The block's record; None when it is absent, empty, cut off, or of another fingerprint or block."""
        try:
            content = json.loads(self.record_path(block_id).read_bytes())
            if not isinstance(content, dict) or not is_whole(content):
                return None
            content.pop("checksum", None)
            record = BlockRecord.model_validate(content)
        except (FileNotFoundError, ValueError):
            return None
        return record if (record.fingerprint, record.block_id) == (self.fingerprint, block_id) else None

    def state(self, block_id: int) -> BlockState | Literal["missing"]:
        """The record's word, but "missing" when the payload it names is not there at the recorded size."""
        record = self.read(block_id)
        if record is None or (record.state == "done" and record.field_file is None):
            return "missing"
        if record.field_file is None:
            return record.state
        try:
            whole = self.payload_path(block_id).stat().st_size == record.field_bytes
        except FileNotFoundError:
            whole = False
        return record.state if whole else "missing"

    def withdraw(self, block_id: int) -> None:
        """Forget the block: its record first, then its payload. Nothing happens if there is none."""
        for path in (self.record_path(block_id), self.payload_path(block_id)):
            with suppress(FileNotFoundError):
                path.unlink()
                fsync_dir(self.folder)
