"""A folder in an object store or on a web server: S3 and GCS read and written, HTTP read, through fsspec.

Credentials, regions and endpoints come from the environment alone; see docs/storage.md. Messages name the address and the
kind of failure, never what a library says of it: that may repeat what was sent.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from isofield.errors import InputError
from isofield.storage.uri import RefusedError

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem
    from zarr.abc.store import Store

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
_N_DELETED_AT_ONCE = 16


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
        with self.reporting(key):
            self._fs.pipe_file(self.locate(key), data, chunksize=_ONE_PUT_BYTES)

    def delete(self, keys: Iterable[str]) -> None:
        # One by one: to delete many at once, fsspec takes `*`, `?` and `[` in their names for patterns.
        with ThreadPoolExecutor(_N_DELETED_AT_ONCE) as pool:
            list(pool.map(self._delete, keys))

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError), self.reporting(key):
            self._fs.rm_file(self.locate(key))

    def keys(self) -> list[str]:
        root = self._fs._strip_protocol(self.uri)
        with suppress(FileNotFoundError), self.reporting(""):
            found = [path.removeprefix(f"{root}/") for path in self._fs.find(root) if path.startswith(f"{root}/")]
            return sorted(key for key in found if key and not key.endswith("/"))
        return []

    def folders(self) -> list[str]:
        if self._scheme == "http":
            limit = "is on a web server, which does not list what a folder holds"
            raise RefusedError(self.setting, self.uri, limit, f"Give the address of the array, or image, inside {self.setting}")
        with suppress(FileNotFoundError), self.reporting(""):
            names = [entry["name"] for entry in self._inside() if entry["type"] == "directory"]
            return sorted(posixpath.basename(name.rstrip("/")) for name in names)
        return []

    def empty(self) -> bool:
        with suppress(FileNotFoundError), self.reporting(""):
            return not self._inside()
        return True

    def _inside(self) -> list[dict]:
        """Files and folders directly inside, without the empty object by which consoles make a folder."""
        root = self._fs._strip_protocol(self.uri)
        markers = (root, "directory"), (f"{root}/", "file")
        return [entry for entry in self._fs.ls(self.uri, detail=True) if (entry["name"], entry["type"]) not in markers]

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

    def zarr_store(self, *, kept: bool = False) -> Store:
        from zarr.storage import FsspecStore

        from isofield.storage.kept import KeptReads

        fs = self._filesystem(asynchronous=True)
        store = FsspecStore(fs, read_only=True, path=fs._strip_protocol(self.uri))
        return KeptReads(store) if kept else store

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
            if "bucket does not exist" in str(error) or self._lacks_bucket():
                raise self._no_bucket(key) from None
            raise
        except Exception as error:
            if not _is_failure(error, self._scheme):
                raise
            if isinstance(error, PermissionError) or _code(error) in ("401", "403"):
                remedy = _CREDENTIALS[self._scheme]
                raise RefusedError(self.setting, where, "the server does not permit it", remedy) from None
            limit = f"the server cannot be reached or fails ({' '.join((type(error).__name__, _code(error))).strip()})"
            remedy = "Check the network" + self._or_endpoint
            raise InputError(self.setting, where, limit, remedy) from None

    def _lacks_bucket(self) -> bool:
        """Of GCS this must be asked: of a bucket that is not there it says no more than of an object."""
        if self._scheme != "gs":
            return False
        from isofield.storage import gcs

        return gcs.lacks_bucket(self._fs, self._bucket)

    def _no_bucket(self, key: str) -> InputError:
        limit = f"there is no bucket {self._bucket}"
        remedy = f"Correct {self.setting}, or make the bucket{self._or_endpoint}"
        return InputError(self.setting, self.locate(key), limit, remedy)

    @property
    def _bucket(self) -> str:
        return self.uri.split("/")[2]

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

            if self._scheme == "gs":
                from isofield.storage import gcs

                return gcs.Client(asynchronous=asynchronous, use_listings_cache=False)
            options: dict[str, object] = {"anon": True} if self.anonymous else {}
            if asynchronous and self._scheme == "s3":
                # zarr asks for many chunks at once by itself; s3fs would ask for the size of each before.
                options["max_concurrency"] = 1
            return fsspec.filesystem(self.uri.partition(":")[0], asynchronous=asynchronous, use_listings_cache=False, **options)
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
    # gcsfs has no class and no attribute for it.
    if str(error).startswith("Forbidden: "):
        return "403"
    return str(getattr(error, "status", getattr(error, "code", "")))


def _is_failure(error: Exception, scheme: str) -> bool:
    """Whether the libraries behind a scheme raise this when a request fails."""
    from aiohttp import ClientError

    if scheme == "gs":
        from isofield.storage import gcs

        return gcs.is_failure(error)
    failures: tuple[type[Exception], ...] = (OSError, ClientError)
    if scheme == "s3":
        from botocore.exceptions import BotoCoreError
        from botocore.exceptions import ClientError as S3Error

        failures += (BotoCoreError, S3Error)
    return isinstance(error, failures)
