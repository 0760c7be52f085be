"""Blobs on S3: the suite, the cache of this machine, and what killed writers leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from tidemill.backends.s3.blob_cache import BlobCache, BlobManifest
from tidemill.backends.s3.s3_blobs import S3Blobs
from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.backend import BackendContext
from tidemill.core.errors import CorruptFile
from tidemill.core.ports import Blobs
from tidemill.core.records.ingest import FileEntry
from tidemill.testing.blobs import BlobsSuite, finished


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def opened(root: Path, machine: str = "machine") -> S3Blobs:
    url = f"s3://{BUCKET}{root}"
    return S3Blobs.from_url(url, BackendContext(project=root.parent / machine))


class TestS3Blobs(BlobsSuite):
    def make(self, root: Path) -> Blobs:
        return opened(root)


def stored(root: Path) -> list[str]:
    return [found["path"] for found in S3Folder(S3Location.from_url(f"s3://{BUCKET}{root}/_blobs")).list()]


def test_another_machine_fetches_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "lake").put_folder("a", finished(tmp_path / "made", one="1"))
    fetched: list[str] = []
    read = S3Folder.read
    monkeypatch.setattr(S3Folder, "read", lambda self, path: (fetched.append(path), read(self, path))[1])
    for _ in range(3):
        place = Path(opened(tmp_path / "lake", "other").folder("a"))
        assert (place / "one").read_text() == "1"
    assert len([path for path in fetched if path.startswith("files/")]) == 2
    monkeypatch.setattr(S3Folder, "read", read)
    (place / "one").write_text("2")  # of the same size
    assert (Path(opened(tmp_path / "lake", "other").folder("a")) / "one").read_text() == "1"


def test_a_changed_object_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "lake").put_folder("a", finished(tmp_path / "made", one="1"))
    (path,) = [path for path in stored(tmp_path / "lake") if path.endswith("/one")]
    changed = tmp_path / "changed"
    changed.write_text("2")
    S3Folder(S3Location.from_url(f"s3://{BUCKET}{tmp_path}/lake/_blobs")).upload(path, changed)
    with pytest.raises(CorruptFile, match="another content"):
        opened(tmp_path / "lake", "other").folder("a")


def test_a_removed_key_leaves_no_object_and_a_killed_writer_none_that_stays(tmp_path: Path) -> None:
    blobs = opened(tmp_path / "lake")
    S3Folder(S3Location.from_url(f"s3://{BUCKET}{tmp_path}/lake/_blobs")).create("files/a/dead/one", b"half")
    blobs.put_folder("a", finished(tmp_path / "made", one="1"))
    assert not [path for path in stored(tmp_path / "lake") if "dead" in path]
    blobs.remove("a")
    assert stored(tmp_path / "lake") == []


def test_what_is_cached_is_used_while_the_store_is_away(tmp_path: Path) -> None:
    with s3_server() as store:
        opened(tmp_path / "lake").put_folder("a", finished(tmp_path / "made", one="1"))
        before = opened(tmp_path / "lake")
        assert (Path(before.folder("a")) / "one").read_text() == "1"
        store.process.kill()
        store.process.wait()
        assert (Path(before.folder("a")) / "one").read_text() == "1"


def test_the_cache_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, limit_bytes=250)
    body = b"x" * 100
    entry = FileEntry(
        path="f", size_bytes=100, sha256="09ecb6ebc8bcefc733f6f2ec44f791abeed6a99edf0cc31519637898aebd52d8"
    )
    manifest = BlobManifest(place="p", files=(entry,))
    for at, name in enumerate(("a", "b", "a", "c")):
        place = cache.folder(name, manifest, lambda path: body)
        os.utime(place, (at, at))
    assert sorted(place.name for place in tmp_path.iterdir()) == ["a", "c"]


def test_what_a_killed_process_left_in_the_cache_goes(tmp_path: Path) -> None:
    finished(tmp_path / ".new-4194305-dead", one="half")  # no process has this number
    finished(tmp_path / f".new-{os.getpid()}-busy", one="half")
    BlobCache(tmp_path).put("a", Path(finished(tmp_path / "made", one="1")))
    assert sorted(place.name for place in tmp_path.iterdir()) == [f".new-{os.getpid()}-busy", "a"]
