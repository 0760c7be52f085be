"""Objects in a folder: the suite, and what killed writers leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.backends.folder_objects import FolderObjects
from tidemill.core.errors import NoSuchObject, UsageError
from tidemill.core.ports import Objects
from tidemill.testing.objects import ObjectsSuite


class TestFolderObjects(ObjectsSuite):
    def make(self, root: Path) -> Objects:
        return FolderObjects(root)


class _Overwrites(FolderObjects):
    """Wrong: the last one stays."""

    def put(self, name, body):
        self.delete(name)
        super().put(name, body)
        return True


class _IsWrong(ObjectsSuite):
    __test__ = False

    def make(self, root: Path) -> Objects:
        return _Overwrites(root)


@pytest.mark.parametrize("law", ["test_the_first_object_of_a_name_stays", "test_of_many_threads_one_stores_a_name"])
def test_the_suite_catches_a_backend_that_overwrites(tmp_path: Path, law: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(_IsWrong(), law)(tmp_path)


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


DIES = """
import os, signal, sys
from tidemill.backends.folder_objects import FolderObjects
link = os.link
def dying(source, place):
    if sys.argv[2] == "after":
        link(source, place)
    os.kill(os.getpid(), signal.SIGKILL)
os.link = dying
FolderObjects(sys.argv[1]).put("a/b", b"whole")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_writer_left_is_unseen_and_goes_with_the_next_put(tmp_path: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), when], check=False)
    assert done.returncode == -signal.SIGKILL
    named = ["a/b"] if when == "after" else []
    objects = FolderObjects(tmp_path)
    assert objects.list("") == named
    assert [name for name in files(tmp_path) if not name.startswith(".incoming/")] == named
    assert len(files(tmp_path)) == len(named) + 1
    assert objects.put("c", b"1")
    assert files(tmp_path) == [*named, "c"]
    assert objects.put("a/b", b"other") is (when == "before")


def test_an_object_deleted_while_it_is_stored_again_is_stored(tmp_path: Path, monkeypatch) -> None:
    link, objects = os.link, FolderObjects(tmp_path)

    def overtaken(source: Path, place: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        raise FileExistsError  # it was there, and has been deleted since

    monkeypatch.setattr(os, "link", overtaken)
    assert objects.put("a", b"1")
    assert objects.get("a") == b"1"


@pytest.mark.parametrize("make", [Path.mkdir, lambda place: place.symlink_to("nowhere"), os.mkfifo])
def test_a_name_that_is_no_file_is_refused(tmp_path: Path, make) -> None:
    make(tmp_path / "a")
    with pytest.raises(UsageError, match="cannot be an object"):
        FolderObjects(tmp_path).put("a", b"1")


def test_what_a_living_writer_writes_is_left_alone(tmp_path: Path) -> None:
    with FolderObjects(tmp_path)._written(b"slow") as file:
        FolderObjects(tmp_path).put("a", b"1")
        assert file.read_bytes() == b"slow"
    assert files(tmp_path) == ["a"]


def test_a_file_that_was_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock = fcntl.flock

    def sweeping(sink, how: int) -> None:
        monkeypatch.undo()
        lock(sink, how)
        Path(sink.name).unlink()

    objects = FolderObjects(tmp_path)
    objects.put("first", b"1")
    monkeypatch.setattr(fcntl, "flock", sweeping)
    assert objects.put("a", b"whole")
    assert objects.get("a") == b"whole"
    assert files(tmp_path) == ["a", "first"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    objects = FolderObjects(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "fsync", full)
        objects.put("a", b"1")
    assert files(tmp_path) == []
    assert objects.put("a", b"2")


def test_a_name_is_an_object_or_a_folder_of_objects(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.put("a/b", b"1")
    for name in ("a", "a/b/c"):
        with pytest.raises(UsageError, match="cannot be an object"):
            objects.put(name, b"2")
        with pytest.raises(NoSuchObject, match="a/b"):
            objects.get(name)
        objects.delete(name)
    assert files(tmp_path) == ["a/b"]


def test_a_part_of_a_name_that_is_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"):
        FolderObjects(tmp_path).put("a/" + "ü" * 128, b"1")


def test_files_that_others_put_there_are_objects(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.json").write_bytes(b"{}")
    objects = FolderObjects(tmp_path)
    assert (objects.list("a/"), objects.get("a/b.json"), objects.put("a/b.json", b"1")) == (["a/b.json"], b"{}", False)
