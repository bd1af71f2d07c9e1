"""A real S3 server on loopback, moto's, as a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from object_stores import BUCKET, SECRET, answering


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and what a client of it has in its environment."""

    address: str
    key: str = "AKIAPLANTEDKEY"
    secret: str = SECRET

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.address,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def uri(self, key: str, bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{key}"

    def put(self, files: dict[str, bytes], prefix: str) -> None:
        client = self.client()
        for key, content in files.items():
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=content)

    def files(self, prefix: str) -> dict[str, bytes]:
        """Content of every object below `prefix`, by the rest of its key."""
        client, found = self.client(), {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
            for about in page.get("Contents", []):
                body = client.get_object(Bucket=BUCKET, Key=about["Key"])["Body"].read()
                found[about["Key"].removeprefix(f"{prefix}/")] = body
        return found

    def remove(self, key: str) -> None:
        self.client().delete_object(Bucket=BUCKET, Key=key)

    def array(self, key: str):
        """The Zarr array there, as zarr and s3fs read it by themselves."""
        import zarr

        return zarr.open_array(self.uri(key), mode="r", storage_options={"endpoint_url": self.address})


@contextmanager
def running_s3(n_unchecked: int | None = None) -> Iterator[S3Server]:
    """A server with one bucket. n_unchecked: number of requests after which it asks who is calling; None: never."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    if n_unchecked is not None:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(n_unchecked)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p"]
    with answering(command, environment, health="/moto-api/") as address:
        server = S3Server(address)
        server.client().create_bucket(Bucket=BUCKET)
        yield server
