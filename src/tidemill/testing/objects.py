"""Contract suite of `Objects` back-ends. Override `make`.

Some tests use several processes. They are started by `spawn`, so the class that overrides `make` must be at the top
level of a module.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tidemill.core.errors import NoSuchObject, TidemillError
from tidemill.core.ports import Objects
from tidemill.core.storage.object_names import LONGEST_NAME

#: Large enough that a process can be killed during a write.
LARGE_BYTES = 4 * 1024 * 1024
TOO_LONG = "a/" * (LONGEST_NAME // 2) + "a"


class ObjectsSuite:
    """One test per guarantee of the port."""

    def make(self, root: Path) -> Objects:
        """A store under `root`. Calls with the same root, from any process, give the same store."""
        raise NotImplementedError

    def test_nothing_is_there_at_first(self, tmp_path: Path) -> None:
        objects = self.make(tmp_path / "objects")
        assert objects.list("") == []
        with pytest.raises(NoSuchObject, match="a/b"):
            objects.get("a/b")

    @pytest.mark.parametrize(
        "body",
        [b"", b"text\r\n", bytes(range(256)) * 3, os.urandom(LARGE_BYTES)],
        ids=["empty", "text", "any", "large"],
    )
    def test_bytes_come_back_exactly(self, tmp_path: Path, body: bytes) -> None:
        assert self.make(tmp_path / "objects").put("a/b/c.bin", body)
        again = self.make(tmp_path / "objects")
        assert again.get("a/b/c.bin") == body
        assert again.list("") == ["a/b/c.bin"]

    def test_the_first_object_of_a_name_stays(self, tmp_path: Path) -> None:
        objects = self.make(tmp_path / "objects")
        assert [objects.put("a", body) for body in (b"first", b"second", b"")] == [True, False, False]
        assert objects.get("a") == b"first"

    def test_of_many_threads_one_stores_a_name(self, tmp_path: Path) -> None:
        stores = [self.make(tmp_path / "objects") for _ in range(8)]
        for name in ("a", "b/1", "b/2"):
            stored: list[int] = []

            def write(number: int, name: str = name, stored: list[int] = stored) -> None:
                if stores[number].put(name, b"%d" % number * 1000):
                    stored.append(number)

            threads = [threading.Thread(target=write, args=(number,)) for number in range(len(stores))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            (winner,) = stored
            assert stores[0].get(name) == b"%d" % winner * 1000
        assert stores[0].list("") == ["a", "b/1", "b/2"]

    def test_of_many_processes_one_stores_a_name(self, tmp_path: Path) -> None:
        context, names = multiprocessing.get_context("spawn"), [f"n/{number}" for number in range(20)]
        together, writers = context.Barrier(3), range(3)
        children = [
            context.Process(target=_store_all, args=(self.make, tmp_path, names, number, together))
            for number in writers
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
        objects = self.make(tmp_path / "objects")
        won = [set((tmp_path / f"won by {number}").read_text().split()) for number in writers]
        assert sorted(name for names_won in won for name in names_won) == sorted(names) == objects.list("")
        assert all(objects.get(name) == b"%d" % number for number in writers for name in won[number])

    def test_readers_never_see_half_an_object(self, tmp_path: Path) -> None:
        objects, names = self.make(tmp_path / "objects"), [f"n/{number}" for number in range(8)]
        body = os.urandom(LARGE_BYTES)
        writer = threading.Thread(target=lambda: [self.make(tmp_path / "objects").put(name, body) for name in names])
        writer.start()
        seen: set[str] = set()
        while len(seen) < len(names) and (writer.is_alive() or objects.list("n/") == names):
            for name in set(objects.list("n/")) - seen:
                assert objects.get(name) == body
                seen.add(name)
        writer.join()
        assert sorted(seen) == names

    def test_a_killed_writer_leaves_whole_objects_or_none(self, tmp_path: Path) -> None:
        """Kill a writer during a write: every listed object is complete, and every acknowledged object is listed."""
        context = multiprocessing.get_context("spawn")
        for after_s in (0.0, 0.003, 0.011):
            child = context.Process(target=_store_until_killed, args=(self.make, tmp_path))
            child.start()
            assert child.pid is not None
            told = tmp_path / f"told by {child.pid}"
            while child.is_alive() and not told.exists():
                time.sleep(0.002)
            time.sleep(after_s)
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            assert child.exitcode == -signal.SIGKILL
            objects = self.make(tmp_path / "objects")
            found = objects.list("")
            assert set(told.read_text().split()) <= set(found)
            assert all(objects.get(name) == name.encode() * (LARGE_BYTES // len(name)) for name in found)
            assert all(objects.put(name, b"taken") is (name == "next") for name in [*found, "next"])
            objects.delete("next")

    def test_other_openers_see_it(self, tmp_path: Path) -> None:
        first, second = self.make(tmp_path / "objects"), self.make(tmp_path / "objects")
        first.put("a", b"1")
        assert (second.list(""), second.get("a")) == (["a"], b"1")
        second.delete("a")
        assert first.list("") == []

    def test_names_are_listed_by_prefix_sorted(self, tmp_path: Path) -> None:
        objects = self.make(tmp_path / "objects")
        names = ["b", "a/2", "a/10.json", "a/x/deep/er", "ab/1", "a-1", "ü b/100%", "A"]
        for name in names:
            assert objects.put(name, name.encode())
        for prefix in ("", "a", "a/", "a/1", "a/x", "a/x/", "a/x/deep/e", "ab", "b", "b/", "c", "ü", "a/2/3", "."):
            assert objects.list(prefix) == sorted(name for name in names if name.startswith(prefix)), prefix
        assert all(objects.get(name) == name.encode() for name in names)

    def test_a_deleted_name_is_free_again(self, tmp_path: Path) -> None:
        objects = self.make(tmp_path / "objects")
        for body in (b"first", b"second"):
            assert objects.put("a/b", body)
            assert objects.put(f"a/{body.decode()}", body)
            assert objects.get("a/b") == body
            objects.delete("a/b")
            objects.delete("a/b")
            with pytest.raises(NoSuchObject):
                self.make(tmp_path / "objects").get("a/b")
        assert objects.list("") == ["a/first", "a/second"]

    def test_what_is_not_there_can_be_deleted(self, tmp_path: Path) -> None:
        objects = self.make(tmp_path / "objects")
        objects.delete("a")
        objects.put("a/b", b"1")
        for name in ("a/c", "b/c/d", "a/b/c"):
            objects.delete(name)
        assert objects.list("") == ["a/b"]

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../a", "a/../b", "/a", "/", "a/", "a//b", ".hidden", "a/.hidden", "a\x00b", "a\nb", TOO_LONG],
    )
    def test_other_names_are_refused(self, tmp_path: Path, name: str) -> None:
        objects = self.make(tmp_path / "objects")
        objects.put("a", b"1")
        for act in (objects.get, objects.delete, lambda name: objects.put(name, b"2")):
            with pytest.raises(TidemillError):
                act(name)
        assert objects.list("") == ["a"]

    @pytest.mark.parametrize("prefix", ["/", "/a", "../", "a/../", "a//"])
    def test_other_prefixes_are_refused(self, tmp_path: Path, prefix: str) -> None:
        with pytest.raises(TidemillError):
            self.make(tmp_path / "objects").list(prefix)


def _store_all(make: Callable[[Path], Objects], folder: Path, names: list[str], number: int, together: Barrier) -> None:
    objects = make(folder / "objects")
    together.wait()
    won = [name for name in names if objects.put(name, b"%d" % number)]
    (folder / f"won by {number}").write_text(" ".join(won))


def _store_until_killed(make: Callable[[Path], Objects], folder: Path) -> None:
    objects = make(folder / "objects")
    with (folder / f"told by {os.getpid()}").open("a") as told:
        for number in range(10_000):
            name = f"{os.getpid()}/{number}"
            assert objects.put(name, name.encode() * (LARGE_BYTES // len(name)))
            told.write(f"{name}\n")
            told.flush()
