"""A folder of this machine's file systems."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from isofield.records import PARTIAL, fsync_dir, partial_sibling, sweep_partials, write_bytes_atomic


@dataclass(frozen=True, eq=False)
class LocalPlace:
    """See `Place`. Files are written beside their name, synced to the disk and renamed."""

    path: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> LocalPlace:
        return cls(Path(path))

    def __str__(self) -> str:
        return str(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalPlace) and self.path.absolute() == other.path.absolute()

    def __hash__(self) -> int:
        return hash(self.path.absolute())

    def read(self, key: str) -> bytes | None:
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def size(self, key: str) -> int | None:
        file = self.path / key
        return file.stat().st_size if file.is_file() else None

    def version(self, key: str) -> str | None:
        # Opened, not just looked up: a network file system then asks its server rather than remember.
        try:
            with open(self.path / key, "rb") as file:
                about = os.fstat(file.fileno())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return f"{about.st_ino} {about.st_size} {about.st_mtime_ns}"

    def write(self, key: str, data: bytes) -> None:
        write_bytes_atomic(self.path / key, data)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            (self.path / key).unlink(missing_ok=True)

    def keys(self) -> list[str]:
        return sorted(file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())

    def folders(self) -> list[str]:
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir()) if self.path.is_dir() else []

    def empty(self) -> bool:
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    def replace(self, files: Mapping[str, bytes]) -> None:
        """The folder appears whole, by one rename. Raises OSError if another writer was faster."""
        partial, old = partial_sibling(self.path), partial_sibling(self.path)
        try:
            for key, data in files.items():
                write_bytes_atomic(partial / key, data)
            if self.path.exists():
                os.rename(self.path, old)
            os.rename(partial, self.path)
        finally:
            for folder in (partial, old):
                shutil.rmtree(folder, ignore_errors=True)
        fsync_dir(self.path.parent)

    def sweep(self, min_age_s: float) -> None:
        sweep_partials(self.path, min_age_s)
        for beside in self.path.parent.glob(f"{self.path.name}.*{PARTIAL}"):
            with suppress(FileNotFoundError):
                if time.time() - beside.lstat().st_mtime >= min_age_s:
                    shutil.rmtree(beside)

    def locate(self, key: str) -> str:
        return str(self.path / key)

    def zarr_store(self, *, kept: bool = False) -> str:
        return str(self.path)

    def reporting(self, key: str) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def parent(self) -> LocalPlace | None:
        path = self.path.absolute()
        return LocalPlace(path.parent) if path.parent != path else None

    def __truediv__(self, name: str) -> LocalPlace:
        return LocalPlace(self.path / name)

    def relative_to(self, above: LocalPlace) -> str:
        return self.path.relative_to(above.path).as_posix()
