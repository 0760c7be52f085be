"""Tables on S3: the suite on a real server, and what two writers and an outage leave."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, KEY, SECRET, S3Server, s3_server
from spark_servers import free_port

from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location, _store
from tidemill.core.backend import BackendContext
from tidemill.core.errors import PlaceRefused, StaleWriter
from tidemill.core.ports import Tables
from tidemill.testing.tables import SCHEMA, TablesSuite, some_rows

CONTEXT = BackendContext(project=Path("/"))


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def opened(root: Path) -> DeltaTables:
    return DeltaTables.from_url(f"s3://{BUCKET}{root}", CONTEXT)


class TestS3Tables(TablesSuite):
    test_expired_versions_leave_the_later_ones_whole = pytest.mark.slow(  # thousands of requests
        TablesSuite.test_expired_versions_leave_the_later_ones_whole
    )

    def make(self, root: Path) -> Tables:
        return opened(root)

    def content(self, tables: Tables, file: str) -> bytes:
        folder, _, name = tables.locate("t", file).rpartition("/")
        return S3Folder(S3Location.from_url(folder)).read(name)

    def damage(self, tables: Tables, file: str, content: bytes | None) -> None:
        folder, _, name = tables.locate("t", file).rpartition("/")
        place = S3Folder(S3Location.from_url(folder))
        place.delete([name])
        if content is not None:
            assert place.create(name, content)


def test_of_two_writers_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).create("t", SCHEMA, [])
    writers = [opened(tmp_path) for _ in range(4)]
    for writer in writers:
        assert writer.schema("t") is not None  # each with an open handle
    staged = [writer.stage("t", 1, some_rows(number)) for number, writer in enumerate(writers)]
    together, done, refused = threading.Barrier(len(writers)), [], []

    def commit(number: int) -> None:
        together.wait()
        try:
            done.append(writers[number].commit("t", 1, 0, staged[number], [], {}))
        except StaleWriter:
            refused.append(number)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(len(writers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done, len(refused)) == ([1], 3)
    assert [(commit.version, commit.number) for commit in opened(tmp_path).history("t")] == [(1, 1), (0, 0)]


def test_an_outage_is_named_without_a_secret_and_a_rerun_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = opened(tmp_path)
    tables.create("t", SCHEMA, [])
    staged = tables.stage("t", 1, some_rows(1))
    location = S3Location.from_url(f"s3://{BUCKET}{tmp_path}")
    away = dataclasses.replace(location, endpoint=f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(S3Location, "store", lambda self, **given: _store(away, os.getpid(), False))
    for act in (tables.read, tables.digest, tables.stamp):
        with pytest.raises(PlaceRefused, match="does not answer") as refused:
            act("t", staged[0].entry.path)
        assert SECRET not in str(refused.value)
    with pytest.raises(PlaceRefused):
        tables.commit("t", 1, 0, staged, [], {})
    monkeypatch.undo()
    assert opened(tmp_path).commit("t", 1, 0, staged, [], {}) == 1
    assert tables.files("t", 1) == [staged[0].entry.path]


def test_no_secret_is_in_the_store(tmp_path: Path) -> None:
    tables = opened(tmp_path)
    tables.create("t", SCHEMA, [])
    tables.commit("t", 1, 0, tables.stage("t", 1, some_rows(1)), [], {"note": "1"})
    folder = S3Folder(S3Location.from_url(f"s3://{BUCKET}{tmp_path}"))
    kept = {found["path"]: folder.read(found["path"]) for found in folder.list()}
    assert len(kept) == 3
    assert all(SECRET.encode() not in content and KEY.encode() not in content for content in kept.values())
    assert SECRET not in tables.locate("t", "a") and "?" not in tables.locate("t", "a")
