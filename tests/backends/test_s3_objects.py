"""Objects on S3: the suite on a real server, outages, refusals, and a store that overwrites."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from s3_server import BUCKET, KEY, SECRET, S3Server, s3_server
from spark_servers import free_port

from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location
from tidemill.backends.s3.s3_objects import S3Objects
from tidemill.core.backend import BackendContext
from tidemill.core.errors import ConditionalPutMissing, PlaceRefused, SettingError
from tidemill.core.ports import Objects
from tidemill.testing.objects import ObjectsSuite

CONTEXT = BackendContext(project=Path("/"))


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


class TestS3Objects(ObjectsSuite):
    def make(self, root: Path) -> Objects:
        return S3Objects.from_url(f"s3://{BUCKET}{root}", CONTEXT)


def test_a_pickled_location_has_no_secret(server: S3Server) -> None:
    folder = S3Folder(S3Location.from_url(server.url("pickled")))
    assert folder.create("a", b"1")
    sent = pickle.dumps(folder)
    assert SECRET.encode() not in sent and KEY.encode() not in sent
    assert pickle.loads(sent).read("a") == b"1"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://ann:hidden@bucket/lake", "credentials"),
        ("s3://bucket/lake?secret_access_key=hidden", "unknown option"),
        ("s3://bucket/lake?endpoint=http://ann:hidden@host", "plain URL"),
        ("s3://bucket/lake?endpoint=ftp://host", "plain URL"),
        ("s3:///lake", "bucket"),
    ],
)
def test_credentials_do_not_belong_into_a_url(url: str, says: str) -> None:
    with pytest.raises(SettingError, match=says) as refused:
        S3Location.from_url(url, environ={})
    assert "hidden" not in str(refused.value)


def test_what_the_url_leaves_out_is_found_in_the_environment_and_the_profile(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile work]\nregion = eu-north-1\nendpoint_url = http://profile:1\n")
    environ = {"HOME": str(tmp_path), "AWS_PROFILE": "work"}
    assert S3Location.from_url("s3://b/p", environ) == S3Location("b", "p", "http://profile:1", "eu-north-1")
    environ |= {"AWS_ENDPOINT_URL": "http://variable:1", "AWS_REGION": "eu-west-1"}
    assert S3Location.from_url("s3://b/p/", environ) == S3Location("b", "p", "http://variable:1", "eu-west-1")
    assert S3Location.from_url("s3://b?region=x", environ) == S3Location("b", "", "http://variable:1", "x")


def test_the_keys_of_a_profile_are_used(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert S3Folder(S3Location.from_url(server.url("by profile"))).create("a", b"1")
    file.write_text("[default]\naws_secret_access_key hidden\n")
    with pytest.raises(SettingError) as refused:
        S3Location.from_url(server.url("other")).store()
    assert "hidden" not in str(refused.value)


def test_a_missing_bucket_and_a_store_that_does_not_answer_are_named(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PlaceRefused, match="no bucket 'absent-bucket'"):
        S3Objects.from_url(f"s3://absent-bucket/lake?endpoint={server.endpoint}", CONTEXT).put("a", b"1")
    nobody = f"s3://bucket/lake?endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(PlaceRefused, match="does not answer") as refused:
        S3Objects.from_url(nobody, CONTEXT).put("a", b"1")
    assert SECRET not in str(refused.value) and KEY not in str(refused.value)


class _Overwrites(BaseHTTPRequestHandler):
    """A store that takes every put, whatever its conditions, as s3proxy does."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        keys = b"".join(b"<Deleted>%s</Deleted>" % key for key in re.findall(b"<Key>.*?</Key>", body))
        self._answer(b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</DeleteResult>' % keys)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        pass


def test_a_store_that_overwrites_is_refused_by_name() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Overwrites) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        url = f"s3://bucket/lake?endpoint=http://127.0.0.1:{store.server_port}"
        with pytest.raises(ConditionalPutMissing, match="s3://bucket/lake overwrites"):
            S3Objects.from_url(url, CONTEXT).put("a", b"1")
        store.shutdown()


def test_a_put_whose_answer_was_lost_is_known_as_its_own(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    put = obstore.put
    folder = S3Folder(S3Location.from_url(server.url("lost")))

    def sent_twice(store, path, body, **options):
        put(store, path, body, **options)
        return put(store, path, body, **options)

    monkeypatch.setattr(obstore, "put", sent_twice)
    assert folder.create("a", b"1")
    monkeypatch.undo()
    assert not folder.create("a", b"1")


def test_the_package_without_obstore_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from tidemill.backends.s3.s3_location import S3Location\n"
        "try: S3Location('b').store()\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "pip install 'tidemill[s3]'" in ran.stdout
