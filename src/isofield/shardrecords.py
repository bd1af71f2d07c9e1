"""Records of written shards: a small file each while a job runs, one file for all of them once it is done."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from isofield.errors import InputError
from isofield.geometry import Roi
from isofield.records import read_json, sealed, write_json


def shard_key(roi: Roi, shard_vox: int) -> str:
    """Place of a shard in the grid, such as 1.0.2."""
    return ".".join(str(o // shard_vox) for o in roi.offset)


class ShardRecords:
    """Records in `folder` as the blend job `job` sees them, by the shard's place in the grid ("1.0.2").

    A job may find its shards written by another one, of a run with other jobs: it is asked last.
    """

    def __init__(self, folder: Path, job: int) -> None:
        self.folder, self.job = folder, job

    def read(self, key: str) -> dict[str, Any] | None:
        """What was recorded last; None if there is nothing, or nothing that is whole: then the shard is written anew."""
        if self._loose(key).exists():
            return _records(self._loose(key)).get(key)
        return self._own.get(key) or self._others.get(key)

    def write(self, key: str, record: dict[str, Any]) -> None:
        write_json(self._loose(key), sealed({"records": {key: record}}))

    def pack(self, keys: Iterable[str]) -> None:
        """Gather the records of all shards of the job in one file."""
        records = {key: self.read(key) for key in keys}
        write_json(self._packed(self.job), sealed({"records": records}))
        for key in records:
            self._loose(key).unlink(missing_ok=True)

    def files(self, key: str) -> tuple[Path, ...]:
        """Where the job's own records of a shard may lie."""
        return self._loose(key), self._packed(self.job)

    def _loose(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _packed(self, job: int) -> Path:
        return self.folder / f"job-{job}.json"

    @cached_property
    def _own(self) -> dict[str, Any]:
        path = self._packed(self.job)
        return _records(path) if path.exists() else {}

    @cached_property
    def _others(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob("job-*.json")):
            found |= _records(path)
        return found


def _records(path: Path) -> dict[str, Any]:
    """Records by shard; none where the file is damaged."""
    try:
        return read_json(path).get("records", {})
    except InputError:
        return {}
