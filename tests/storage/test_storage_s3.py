"""What goes wrong on the way to a place on a real S3 server."""

from __future__ import annotations

import socket
import threading

import pytest
from elsewhere import elsewhere

from isofield.errors import InputError
from isofield.storage.place import place_of
from isofield.storage.uri import READABLE, RefusedError, checked_uri
from object_stores import BUCKET, SECRET
from s3_server import running_s3


def at(name: str, bucket: str = BUCKET):
    return place_of(f"s3://{bucket}/{name}", "output.path")


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIAPLANTEDKEY:{SECRET}@bucket/a.zarr",
        f"s3://{SECRET.replace('/', '')}@bucket/a.zarr",
        f"https://user:{SECRET}@host/a.zarr",
        f"https://host/a.zarr?X-Amz-Signature={SECRET}",
        f"https://host/a.zarr#{SECRET}",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(uri):
    with pytest.raises(InputError, match=r"credentials or a query.*environment") as refusal:
        checked_uri(uri, "source.path", READABLE)
    assert "planted" not in str(refusal.value)


@pytest.mark.parametrize("uri", ["ftp://host/a.zarr", "s3://bucket", "s3:///a", "gs://bucket/"])
def test_addresses_of_no_store_are_refused(uri):
    with pytest.raises(InputError, match=r"source\.path"):
        checked_uri(uri, "source.path", READABLE)


def test_a_plain_at_sign_in_a_key_is_no_credential():
    assert checked_uri("s3://bucket/a@b.zarr/", "source.path", READABLE) == "s3://bucket/a@b.zarr"


def test_a_bucket_that_is_not_there_may_be_on_another_server(s3):
    with pytest.raises(InputError, match=r"no bucket nowhere.*AWS_ENDPOINT_URL"):
        at("a.zarr", bucket="nowhere").read("zarr.json")


def test_a_server_that_is_down_is_said_to_be(s3):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = {**s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed.getsockname()[1]}", "AWS_MAX_ATTEMPTS": "1"}
        said = elsewhere(f"place_of('s3://{BUCKET}/a.zarr', 'source.path').read('zarr.json')", down)
    assert "source.path" in said
    assert "cannot be reached" in said
    assert f"s3://{BUCKET}/a.zarr/zarr.json" in said


def test_a_server_that_asks_who_is_calling_refuses_strangers():
    """The first request makes the bucket; from the second on the server checks who is calling."""
    read = f"place_of('s3://{BUCKET}/a.zarr', 'source.path').read('zarr.json')"
    write = f"place_of('s3://{BUCKET}/a.zarr', 'output.path').write('zarr.json', b'x')"
    with running_s3(n_unchecked=1) as server:
        stranger = {**server.environment, "AWS_ACCESS_KEY_ID": "AKIASTRANGER"}
        for statements in (read, write):
            said = elsewhere(statements, stranger)
            assert said.startswith("RefusedError"), said
            assert "does not permit it" in said
            assert "AWS_ACCESS_KEY_ID" in said


@pytest.mark.parametrize(
    ("uri", "package", "extra"), [("s3://b/a", "s3fs", "s3"), ("gs://b/a", "gcsfs", "gcs"), ("http://h/a", "aiohttp", "http")]
)
def test_a_missing_package_is_named_with_what_installs_it(uri, package, extra):
    statements = f"import sys; sys.modules[{package!r}] = None; place_of({uri!r}, 'source.path').read('zarr.json')"
    said = elsewhere(statements, {"AWS_EC2_METADATA_DISABLED": "true"})
    assert package in said
    assert f"pip install 'isofield[{extra}]'" in said


def test_without_credentials_requests_are_not_signed(s3):
    s3.put({"private": b"someone"}, "public/a.zarr")
    s3.client().put_object(Bucket=BUCKET, Key="public/a.zarr/zarr.json", Body=b"anyone", ACL="public-read")
    anonymous = {k: v for k, v in s3.environment.items() if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    read = f"place_of('s3://{BUCKET}/public/a.zarr', 'source.path').read"
    assert elsewhere(f"print({read}('zarr.json'))", anonymous) == "b'anyone'\n"
    assert "does not permit it" in elsewhere(f"print({read}('private'))", anonymous)


class CutOff(threading.Thread):
    """A proxy that lets `n_bytes` of every connection through to the server and then cuts it."""

    def __init__(self, server: str, n_bytes: int) -> None:
        super().__init__(daemon=True)
        host, _, port = server.removeprefix("http://").partition(":")
        self.server, self.n_bytes, self.n_cut = (host, int(port)), n_bytes, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, socket.create_connection(self.server) as upstream:
                left = self.n_bytes
                while left > 0 and (piece := client.recv(min(left, 65536))):
                    # A client may ask whether to go on before it sends the body.
                    if piece.lower().find(b"expect: 100-continue") >= 0:
                        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    upstream.sendall(piece)
                    left -= len(piece)
                self.n_cut += left <= 0


def test_a_put_that_is_cut_off_leaves_the_former_object(s3):
    former = bytes(300_000)
    at("cut/a.zarr").write("0/c/0", former)
    proxy = CutOff(s3.address, 100_000)
    proxy.start()
    cut = {**s3.environment, "AWS_ENDPOINT_URL": proxy.address, "AWS_MAX_ATTEMPTS": "1"}
    said = elsewhere(f"place_of('s3://{BUCKET}/cut/a.zarr', 'output.path').write('0/c/0', b'x' * 300_000)", cut)
    proxy.listener.close()
    assert proxy.n_cut > 0
    assert "cannot be reached or fails" in said
    assert at("cut/a.zarr").read("0/c/0") == former


def test_refusals_are_input_errors():
    assert issubclass(RefusedError, InputError)
