"""Places in an object store: a real S3 server, and what goes wrong on the way to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from isofield.errors import InputError
from isofield.storage.place import place_of
from isofield.storage.uri import READABLE, RefusedError, checked_uri
from s3_server import BUCKET, SECRET, running_s3


def at(name: str, bucket: str = BUCKET):
    return place_of(f"s3://{bucket}/{name}", "output.path")


def elsewhere(statements: str, environment: dict[str, str]) -> str:
    """What another process says of the InputError that `statements` raise; it knows of S3 what `environment` says."""
    script = f"""
from isofield.errors import InputError
from isofield.storage.place import place_of
try:
    {statements}
except InputError as error:
    print(type(error).__name__, error)
"""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**clean, **environment}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def test_a_place_is_what_was_put_there(s3):
    place = at("basic/a.zarr")
    assert place.empty()
    assert (place.read("zarr.json"), place.size("zarr.json"), place.keys(), place.folders()) == (None, None, [], [])
    place.write("zarr.json", b"{}")
    place.write("0/c/0", b"voxels")
    place.write("1/zarr.json", b"")
    assert (place.read("0/c/0"), place.size("0/c/0"), place.size("1/zarr.json"), place.size("0")) == (b"voxels", 6, 0, None)
    assert (place.keys(), place.folders()) == (["0/c/0", "1/zarr.json", "zarr.json"], ["0", "1"])
    assert not place.empty()
    place.write("0/c/0", b"others")
    assert s3.files("basic/a.zarr") == {"zarr.json": b"{}", "0/c/0": b"others", "1/zarr.json": b""}
    place.delete(["0/c/0", "not/there"])
    assert place.keys() == ["1/zarr.json", "zarr.json"]


def test_a_version_tells_one_content_from_the_next(s3, tmp_path):
    for place in (at("versions/a.zarr"), place_of(tmp_path / "a.zarr", "output.path")):
        assert place.version("0/c/0") is None
        found = []
        for content in (b"voxels", b"others"):
            place.write("0/c/0", content)
            found.append(place.version("0/c/0"))
            assert found[-1] == place.version("0/c/0")
        assert None not in found
        assert len(set(found)) == 2
        place.delete(["0/c/0"])
        assert place.version("0/c/0") is None


def test_names_join_as_paths_do(tmp_path):
    for place in (at("x/a.zarr"), place_of(tmp_path / "x" / "a.zarr", "output.path")):
        inside = place / "deep/./0"
        assert inside.relative_to(place) == "deep/0"
        assert inside.parent == place / "deep"
        assert inside != place / "deep/1"
    assert at("a").parent.parent is None


def test_replacing_leaves_only_what_is_new(s3):
    place = at("replaced/a.zarr")
    s3.put({"zarr.json": b"old", "0/zarr.json": b"old", "0/c/0": b"old", "7/zarr.json": b"old"}, "replaced/a.zarr")
    s3.put({"0/c/0": b"not ours"}, "replaced/a.zarr.backup")
    place.replace({"zarr.json": b"new", "0/zarr.json": b"array"})
    assert s3.files("replaced/a.zarr") == {"zarr.json": b"new", "0/zarr.json": b"array"}
    assert s3.files("replaced/a.zarr.backup") == {"0/c/0": b"not ours"}


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


def test_a_bucket_that_is_not_there_is_named(s3):
    for act in (
        lambda place: place.read("zarr.json"),
        lambda place: place.write("zarr.json", b""),
        lambda place: place.size("zarr.json"),
        lambda place: place.keys(),
        lambda place: place.empty(),
    ):
        with pytest.raises(InputError, match=r"output\.path.*no bucket nowhere.*AWS_ENDPOINT_URL"):
            act(at("a.zarr", bucket="nowhere"))


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
