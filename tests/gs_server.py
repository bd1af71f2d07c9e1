"""A Google Cloud Storage server on loopback, gcp-storage-emulator, as a process of its own; it asks nobody who is calling."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from object_stores import BUCKET, answering

EMULATOR = Path(__file__).with_name("gs_emulator.py")


@dataclass(frozen=True)
class GsServer:
    """Where it listens, and what a client of it has in its environment: no credentials, and nowhere to look for any."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "TENSORSTORE_GCS_HTTP_URL": self.address,
            "CLOUDSDK_CONFIG": os.devnull,
            "NO_GCE_CHECK": "true",
        }

    def bucket(self):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        client = Client("tests", AnonymousCredentials(), client_options={"api_endpoint": self.address})
        return client.bucket(BUCKET)

    def uri(self, key: str, bucket: str = BUCKET) -> str:
        return f"gs://{bucket}/{key}"

    def put(self, files: dict[str, bytes], prefix: str) -> None:
        bucket = self.bucket()
        for key, content in files.items():
            bucket.blob(f"{prefix}/{key}").upload_from_string(content, "application/octet-stream")

    def files(self, prefix: str) -> dict[str, bytes]:
        """Content of every object below `prefix`, by the rest of its key."""
        found = self.bucket().list_blobs(prefix=f"{prefix}/")
        return {blob.name.removeprefix(f"{prefix}/"): blob.download_as_bytes() for blob in found}

    def remove(self, key: str) -> None:
        self.bucket().blob(key).delete()

    def array(self, key: str):
        """The Zarr array there, as zarr and gcsfs read it by themselves."""
        import zarr
        from gcsfs.core import GCSFileSystem

        fs = GCSFileSystem(token="anon", endpoint_url=self.address, asynchronous=True)
        return zarr.open_array(zarr.storage.FsspecStore(fs, read_only=True, path=f"{BUCKET}/{key}"), mode="r")


@contextmanager
def running_gs() -> Iterator[GsServer]:
    """A server with one bucket."""
    options = ["-H", "127.0.0.1", "--in-memory", "--quiet", "--default-bucket", BUCKET]
    with answering([sys.executable, str(EMULATOR), "start", *options, "--port"], os.environ) as address:
        yield GsServer(address)
