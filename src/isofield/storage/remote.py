"""A folder in an object store or on a web server: S3 and GCS read and written, HTTP read, through fsspec.

Credentials, regions and endpoints come from the environment alone; see docs/storage.md. Messages name the address and the
kind of failure, never what a library says of it: that may repeat what was sent.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from isofield.errors import InputError
from isofield.storage.uri import RefusedError

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem
    from zarr.storage import FsspecStore

_EXTRA = {"s3": "s3", "gs": "gcs", "http": "http", "https": "http"}
_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to an account that may",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to an account that may",
    "http": "Give an address that can be read without a login, or download it",
}
DESCRIBES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""Names of files that say what an array or a group of Zarr is."""
_ONE_PUT_BYTES = 2**32
"""Files up to this size are one request, of which S3 takes 5 GiB; a larger one comes in parts and appears with the last."""


@dataclass(frozen=True)
class RemotePlace:
    """See `Place`. A file is one object and is written by one request, so it is whole or as it was.

    uri: checked, no slash at its end. setting: the key of the configuration that it comes from.
    """

    uri: str
    setting: str

    def __str__(self) -> str:
        return self.uri

    def read(self, key: str) -> bytes | None:
        with suppress(FileNotFoundError), self.reporting(key):
            return self._fs.cat_file(self.locate(key))
        return None

    def size(self, key: str) -> int | None:
        with suppress(FileNotFoundError), self.reporting(key):
            about = self._fs.info(self.locate(key))
            return about["size"] if about["type"] == "file" else None
        return None

    def version(self, key: str) -> str | None:
        with suppress(FileNotFoundError):
            n_bytes, mark = (self / key).state()
            return f"{n_bytes} {mark}"
        return None

    def write(self, key: str, data: bytes) -> None:
        try:
            with self.reporting(key):
                self._fs.pipe_file(self.locate(key), data, chunksize=_ONE_PUT_BYTES)
        except FileNotFoundError:
            # Of what is written only the bucket can be missing; GCS does not say so.
            raise self._no_bucket(key) from None

    def delete(self, keys: Iterable[str]) -> None:
        if paths := [self.locate(key) for key in keys]:
            with self.reporting(""):
                self._fs.rm(paths)

    def keys(self) -> list[str]:
        root = self._fs._strip_protocol(self.uri)
        with suppress(FileNotFoundError), self.reporting(""):
            return sorted(path.removeprefix(f"{root}/") for path in self._fs.find(root) if path.startswith(f"{root}/"))
        return []

    def folders(self) -> list[str]:
        if self._scheme == "http":
            limit = "is on a web server, which does not list what a folder holds"
            raise RefusedError(self.setting, self.uri, limit, f"Give the address of the array, or image, inside {self.setting}")
        with suppress(FileNotFoundError), self.reporting(""):
            found = self._fs.ls(self.uri, detail=True)
            return sorted(posixpath.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == "directory")
        return []

    def empty(self) -> bool:
        with suppress(FileNotFoundError), self.reporting(""):
            return not self._fs.ls(self.uri, detail=False)
        return True

    def replace(self, files: Mapping[str, bytes]) -> None:
        """In an order after which any interruption leaves a place that says what it is and visibly lacks what is in it."""
        first, *others = files
        self.write(first, files[first])
        # What describes an array goes before its voxels and comes back after them: an array that is described is not half gone.
        stale = sorted((key for key in self.keys() if key != first), key=lambda key: not key.endswith(DESCRIBES))
        described = [key for key in stale if key.endswith(DESCRIBES)]
        self.delete(described)
        self.delete(stale[len(described) :])
        for key in others:
            self.write(key, files[key])

    def sweep(self, min_age_s: float) -> None:
        """Nothing: a request that was cut off leaves no object."""

    def locate(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else self.uri

    def open(self) -> BinaryIO:
        """What lies here, as a file to read from: in pieces of 1 MiB, some of which are kept. Raises FileNotFoundError."""
        with self.reporting(""):
            return self._fs.open(self.uri, "rb", block_size=2**20, cache_type="blockcache", cache_options={"maxblocks": 64})

    def state(self) -> tuple[int, str]:
        """Size in bytes of what lies here, and what the server calls its present content."""
        with self.reporting(""):
            about = self._fs.info(self.uri)
        marks = (about.get(name) for name in ("ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified", "LastModified", "mtime"))
        return about["size"] or 0, str(next((mark for mark in marks if mark), ""))

    def zarr_store(self) -> FsspecStore:
        from zarr.storage import FsspecStore

        fs = self._filesystem(asynchronous=True)
        return FsspecStore(fs, read_only=True, path=fs._strip_protocol(self.uri))

    @property
    def parent(self) -> RemotePlace | None:
        scheme, _, rest = self.uri.partition("://")
        above = posixpath.dirname(rest)
        return RemotePlace(f"{scheme}://{above}", self.setting) if above else None

    def __truediv__(self, name: str) -> RemotePlace:
        scheme, _, rest = self.uri.partition("://")
        return RemotePlace(f"{scheme}://{posixpath.normpath(posixpath.join(rest, name))}", self.setting)

    def relative_to(self, above: RemotePlace) -> str:
        return posixpath.relpath(self.uri, above.uri)

    @contextmanager
    def reporting(self, key: str) -> Iterator[None]:
        """Leaves FileNotFoundError as it is, but for a bucket that is not there."""
        where = self.locate(key)
        try:
            yield
        except InputError:
            raise
        except FileNotFoundError as error:
            if "bucket does not exist" in str(error):
                raise self._no_bucket(key) from None
            raise
        except _failures(self._scheme) as error:
            if isinstance(error, PermissionError) or _code(error) in ("401", "403"):
                remedy = _CREDENTIALS[self._scheme]
                raise RefusedError(self.setting, where, "the server does not permit it", remedy) from None
            limit = f"the server cannot be reached or fails ({' '.join((type(error).__name__, _code(error))).strip()})"
            remedy = "Check the network" + self._or_endpoint
            raise InputError(self.setting, where, limit, remedy) from None

    def _no_bucket(self, key: str) -> InputError:
        limit = f"there is no bucket {self.uri.split('/')[2]}"
        remedy = f"Correct {self.setting}, or make the bucket{self._or_endpoint}"
        return InputError(self.setting, self.locate(key), limit, remedy)

    @property
    def _or_endpoint(self) -> str:
        return ", or AWS_ENDPOINT_URL" if self._scheme == "s3" else ""

    @property
    def _scheme(self) -> str:
        return self.uri.partition(":")[0].replace("https", "http")

    @property
    def anonymous(self) -> bool:
        """Whether requests to S3 go out unsigned."""
        return self._scheme == "s3" and not _has_s3_credentials()

    @property
    def _fs(self) -> AsyncFileSystem:
        return self._filesystem(asynchronous=False)

    def _filesystem(self, asynchronous: bool) -> AsyncFileSystem:
        try:
            import fsspec

            anonymous = {"anon": True} if self.anonymous else {}
            return fsspec.filesystem(self.uri.partition(":")[0], asynchronous=asynchronous, use_listings_cache=False, **anonymous)
        except ImportError as error:
            extra = _EXTRA[self._scheme]
            limit = f"needs a package that is not installed ({error.name or error})"
            raise InputError(self.setting, self.uri, limit, f"pip install 'isofield[{extra}]'") from None


@cache
def _has_s3_credentials() -> bool:
    """Whether botocore finds any; without, requests are not signed, which is how public buckets are read."""
    from botocore.session import get_session

    return get_session().get_credentials() is not None


def _code(error: Exception) -> str:
    """The server's code for an error, such as 403 or SlowDown; empty if it sent none."""
    response = getattr(error.__cause__, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "status", getattr(error, "code", "")))


def _failures(scheme: str) -> tuple[type[Exception], ...]:
    """What the libraries behind a scheme raise when a request fails."""
    from aiohttp import ClientError

    failures: tuple[type[Exception], ...] = (OSError, ClientError)
    if scheme == "s3":
        from botocore.exceptions import BotoCoreError
        from botocore.exceptions import ClientError as S3Error

        failures += (BotoCoreError, S3Error)
    if scheme == "gs":
        from gcsfs.retry import HttpError
        from google.auth.exceptions import GoogleAuthError

        failures += (HttpError, GoogleAuthError)
    return failures
