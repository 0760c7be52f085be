"""The Latest store on LMDB: the suite, any order of acts, several processes, and variants that the laws catch."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tidemill.backends.lmdb import lmdb_file, mapped_rows
from tidemill.backends.lmdb.lmdb_file import LmdbFile
from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.backends.lmdb.lmdb_rows import is_intact, pack, place_of, unpack
from tidemill.core.errors import CorruptFile, FormatTooNew, LatestFull, UsageError
from tidemill.core.ports import LatestWriter
from tidemill.testing.latest import LatestSuite, rows
from tidemill.testing.latest_state_machine import latest_machine

_LAWS = settings(max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))


class TestLmdbLatest(LatestSuite):
    def make(self, root: Path) -> LatestWriter:
        return LmdbLatest(root)


def test_any_order_of_acts() -> None:
    run_state_machine_as_test(latest_machine(LmdbLatest), settings=_LAWS)  # type: ignore[no-untyped-call]


class _HidesForever(LmdbLatest):
    """Fresh rows stay whatever a snapshot covers."""

    def write(
        self, view: str, key: str, rows: pa.Table | pa.RecordBatchReader, version: str, covers: int | None = None
    ) -> None:
        super().write(view, key, rows, version, None)


class _SettlesOneTooMany(LmdbLatest):
    def drop_covered(self, view: str, covers: int) -> int:
        return super().drop_covered(view, covers + 1)


class _LetsRowsGoEarly(LmdbLatest):
    """The last put's instant counts, though the row holds what was put later by the clock."""

    def change(self, view: str, by: Any, at: int) -> dict[str, dict[str, Any]]:
        rows = {key: made_by(self.get(view, key)) for key, made_by in by.items()}
        with self._begin(write=True) as txn:
            for place, found in list(self._fresh_rows(txn, view)):
                if found.key in rows:
                    txn.delete(place, db=self._here.file.fresh)
        return super().change(view, {key: lambda _, key=key: rows[key] for key in rows}, at)


class _TakesTheSnapshotOnly(LmdbLatest):
    def take(self, view: str, keys: Any, columns: Any) -> Any:
        snapshot, _ = self._both(view)
        return snapshot.take(keys, columns) if snapshot else super().take(view, keys, columns)


class _ForgetsWhatSettled(LmdbLatest):
    """Followers are told of puts, not of rows that went."""

    def drop_covered(self, view: str, covers: int) -> int:
        keep, self._note = self._note, lambda *_: None  # type: ignore[method-assign]
        try:
            return super().drop_covered(view, covers)
        finally:
            self._note = keep  # type: ignore[method-assign]


class _CachesTheState(LmdbLatest):
    """A reader that never looks again."""

    def _state(self, txn: Any, view: str) -> Any:
        state = self._here.seen[1].get(view) or super()._state(txn, view)
        self._here.seen[1][view] = state
        return state


@pytest.mark.parametrize(
    "wrong",
    [_HidesForever, _SettlesOneTooMany, _LetsRowsGoEarly, _TakesTheSnapshotOnly, _ForgetsWhatSettled, _CachesTheState],
)
def test_the_laws_catch_a_wrong_store(wrong: type[LmdbLatest]) -> None:
    machine = latest_machine(wrong)
    laws = settings(_LAWS, max_examples=300, derandomize=True, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=laws)  # type: ignore[no-untyped-call]


# several processes


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder without a disk, where the machine has one: these tests write much and are about no power cut."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


class _Child:
    """Another process with the same store, that answers one line for each line."""

    def __init__(self, root: Path, does: str) -> None:
        code = (
            "import sys\nfrom tidemill.backends.lmdb.lmdb_latest import LmdbLatest\nlatest = LmdbLatest(sys.argv[1])\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code + does, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str = "") -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def last(self) -> str:
        assert self.process.stdout
        last = self.process.stdout.read().splitlines()[-1]
        assert self.end() == 0
        return last

    def end(self) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


_ANSWERS = """
for line in sys.stdin:
    print(latest.version("v"), (latest.get("v", line.strip()) or {}).get("n"), flush=True)
"""


def test_another_process_sees_puts_and_swaps_at_once(memory: Path) -> None:
    latest = LmdbLatest(memory)
    latest.write("v", "k", rows(("a", 0, "", [])), "0")
    child = _Child(memory, _ANSWERS)
    assert child.ask("a") == "0 0"
    for number in range(1, 30):
        latest.put("v", "a", {"n": number, "s": None, "l": None}, at=number)
        assert child.ask("a") == f"{(number - 1) // 10} {number}"
        if number % 10 == 0:
            latest.write("v", "k", rows(("a", -number, "", [])), str(number // 10), covers=number + 1)
            assert child.ask("a") == f"{number // 10} {-number}"
    assert child.end() == 0


_WATCHES = """
seen, mixed, back, last = set(), 0, 0, -1
keys = [f"k{i:03d}" for i in range(200)]
while len(seen) < 8:
    numbers = set(latest.take("v", keys, ["n"])[0]["n"].to_pylist())
    mixed += len(numbers) > 1
    back += min(numbers) < last
    last = max(numbers)
    if numbers - seen:
        print("more", flush=True)
    seen |= numbers
print(len(seen), mixed, back, flush=True)
"""


def _version(number: int) -> pa.Table:
    return rows(*((f"k{i:03d}", number, "", []) for i in range(200)))


def test_readers_see_each_snapshot_whole_and_never_an_older_one(memory: Path) -> None:
    latest = LmdbLatest(memory)
    latest.write("v", "k", _version(0), "0")
    child = _Child(memory, _WATCHES)
    assert child.line() == "more"
    number = 0
    while child.process.poll() is None:  # until the reader has seen its eight versions
        number += 1
        latest.write("v", "k", _version(number), str(number))
    _, mixed, back = map(int, child.last().split())
    assert (mixed, back) == (0, 0)


def test_that_law_catches_a_store_that_swaps_row_by_row(memory: Path) -> None:
    latest = LmdbLatest(memory)
    latest.write("v", "k", _version(0), "0")
    child = _Child(memory, _WATCHES)
    assert child.line() == "more"
    number = 0
    while child.process.poll() is None:
        number += 1
        for key in range(200):
            latest.put("v", f"k{key:03d}", {"n": number, "s": "", "l": []}, at=1)
    _, mixed, _ = map(int, child.last().split())
    assert mixed > 0


_COUNTS = """
sys.stdin.readline()
for _ in range(100):
    latest.change("v", {"a": lambda row: {"n": (row or {"n": 0})["n"] + 1}}, at=1)
print("done", flush=True)
"""


def test_changes_by_several_processes_are_all_kept(memory: Path) -> None:
    latest = LmdbLatest(memory)
    children = [_Child(memory, _COUNTS) for _ in range(3)]
    for child in children:
        assert child.process.stdin
        child.process.stdin.write("go\n")
        child.process.stdin.flush()
    assert [child.end() for child in children] == [0, 0, 0]
    assert latest.get("v", "a") == {"n": 300}


def test_a_put_by_get_and_put_loses_what_came_between(memory: Path) -> None:
    """Why `change` is in the port: the same count by hand, with another writer in between."""
    latest = LmdbLatest(memory)
    before = latest.get("v", "a")
    latest.put("v", "a", {"n": 1}, at=1)
    latest.put("v", "a", {"n": (before or {"n": 0})["n"] + 1}, at=1)
    assert latest.get("v", "a") != {"n": 2}


def test_a_forked_process_reads_and_writes_on(memory: Path) -> None:
    latest = LmdbLatest(memory)
    latest.write("v", "k", rows(("a", 1, "", [])), "one")
    assert latest.get("v", "a")
    child = os.fork()
    if not child:
        row = latest.get("v", "a")
        latest.put("v", "b", {"n": row["n"] + 1 if row else 0, "s": "", "l": []}, at=1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert latest.get("v", "b") == {"n": 2, "s": "", "l": []}
    assert latest.get("v", "a") == {"n": 1, "s": "", "l": []}


_WRITES = """
import pyarrow as pa
print("ready", flush=True)
number = 0
while True:
    number += 1
    n = 3000
    rows = pa.table({"k": [f"k{i}" for i in range(n)], "n": [number] * n})
    latest.write("v", "k", rows, str(number), covers=number)
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_one_whole_snapshot(memory: Path) -> None:
    chance = random.Random(5)
    for number in range(10):
        child = _Child(memory, _WRITES)
        assert child.line() == "ready"
        time.sleep(chance.uniform(0.0, 0.3))
        child.process.send_signal(signal.SIGKILL)
        assert child.end() == -signal.SIGKILL
        latest = LmdbLatest(memory)
        keys = latest.keys("v")
        if latest.version("v") == "after":
            assert keys == [f"k{number - 1}"]
        elif keys:
            found, present = latest.take("v", keys, ["n"])
            assert len(keys) == 3000
            assert present.all()
            assert {str(value) for value in found["n"].to_pylist()} == {latest.version("v")}
        latest.write("v", "k", rows((f"k{number}", 1, "", [])), "after")
        assert latest.keys("v") == [f"k{number}"]
        assert not list((memory / "views" / "v").glob("new-*")), "what the killed writer left is swept"


# files


def test_old_snapshots_are_swept_and_readers_of_them_go_on(tmp_path: Path) -> None:
    writer, reader = LmdbLatest(tmp_path), LmdbLatest(tmp_path)
    writer.write("v", "k", _version(0), "0")
    assert reader.get("v", "k000")
    held, _ = reader._both("v")
    for number in range(1, 6):
        writer.write("v", "k", _version(number), str(number))
    assert len(list((tmp_path / "views" / "v").iterdir())) == 2
    assert held and held.get("k199") == {"n": 0, "s": "", "l": []}
    assert held.take([f"k{i:03d}" for i in range(200)], ["n"])[0]["n"].to_pylist() == [0] * 200
    assert (reader.get("v", "k000") or {})["n"] == 5


def test_a_snapshot_that_is_gone_is_said_and_not_waited_for(tmp_path: Path) -> None:
    LmdbLatest(tmp_path).write("v", "k", _version(0), "0")
    for file in (tmp_path / "views" / "v" / "00000001").iterdir():
        file.unlink()
    with pytest.raises(CorruptFile):
        LmdbLatest(tmp_path).get("v", "k000")


def test_a_changed_byte_of_a_snapshot_is_found_or_makes_no_difference(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(4)]
    LmdbLatest(tmp_path).write("v", "k", rows(*((key, 1, "text", [1, 2]) for key in keys)), "one")
    chance, silent = random.Random(3), 0
    for file in sorted((tmp_path / "views" / "v" / "00000001").iterdir()):
        good = file.read_bytes()
        for place in sorted(chance.sample(range(len(good)), min(len(good), 40))):
            bad = bytearray(good)
            bad[place] ^= 1 << chance.randrange(8)
            file.write_bytes(bad)
            for key in keys:
                try:
                    assert LmdbLatest(tmp_path).get("v", key) == {"n": 1, "s": "text", "l": [1, 2]}
                except CorruptFile:
                    break
            else:  # a length that reaches beyond the last record, where the file ends anyway
                silent += 1
        file.write_bytes(good[:-1])
        with pytest.raises(CorruptFile):
            LmdbLatest(tmp_path).get("v", "k0")
        file.write_bytes(good)
    assert silent <= 2


def test_a_full_store_says_so_and_reads_go_on(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path, fresh_bytes=256 * 1024)
    latest.write("v", "k", rows(("a", 1, "", [])), "one")
    with pytest.raises(LatestFull):
        for number in range(10_000):
            latest.put("v", f"k{number}", {"n": 1, "s": "x" * 1000, "l": []}, at=1)
    assert latest.get("v", "a") == {"n": 1, "s": "", "l": []}
    assert latest.get("v", "k0") is not None


def test_a_full_disk_is_a_clean_error_and_the_old_snapshot_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = LmdbLatest(tmp_path)
    latest.write("v", "k", rows(("a", 1, "", [])), "one")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(mapped_rows, "sync_file", full)
    with pytest.raises(LatestFull):
        latest.write("v", "k", rows(("a", 2, "", [])), "two")
    monkeypatch.undo()
    assert (latest.version("v"), latest.get("v", "a")) == ("one", {"n": 1, "s": "", "l": []})
    assert [path.name for path in (tmp_path / "views" / "v").iterdir()] == ["00000001"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    with latest._begin(write=True) as txn:
        txn.put(b"format", b"2", db=latest._here.file.env.open_db(b"about", txn=txn))
    latest.close()
    with pytest.raises(FormatTooNew):
        LmdbLatest(tmp_path).version("v")


@pytest.mark.parametrize("view", ["", "..", "../x", "a/b", ".hidden"])
def test_views_that_lead_elsewhere_are_refused(tmp_path: Path, view: str) -> None:
    with pytest.raises(UsageError):
        LmdbLatest(tmp_path).write(view, "k", rows(("a", 1, "", [])), "one")


def test_a_fresh_row_that_a_new_snapshot_cannot_hold_goes(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    latest.put("v", "a", {"n": "text"}, at=10)
    latest.put("v", "b", {"n": 4}, at=10)
    latest.write("v", "k", rows(("a", 1, "", [])), "one")
    assert latest.get("v", "a") == {"n": 1, "s": "", "l": []}
    assert latest.get("v", "b") == {"n": 4}


# forgetting


_FORGETS = """
latest.keys("v")
print("ready", flush=True)
sys.stdin.readline()
latest.forget([f"GONEGONE{i}" for i in range(300)])
print("done", flush=True)
sys.stdin.readline()
"""


def _filled(memory: Path) -> LmdbLatest:
    latest = LmdbLatest(memory)
    for view in ("v", "w"):
        latest.write(
            view,
            "k",
            rows(*((f"{who}{i}", i, "x" * 50, []) for who in ("GONEGONE", "STAYS") for i in range(300))),
            "one",
        )
        for i in range(0, 300, 3):
            latest.put(view, f"GONEGONE{i}", {"n": -i}, at=1)
            latest.put(view, f"STAYS{i}", {"n": -i}, at=1)
    return latest


def _bytes_left(memory: Path) -> list[Path]:
    return [file for file in memory.rglob("*") if file.is_file() and b"GONEGONE" in file.read_bytes()]


def test_another_process_forgets_and_readers_follow_it_to_the_new_file(memory: Path) -> None:
    latest = _filled(memory)
    child = _Child(memory, _FORGETS)
    assert child.line() == "ready"
    assert latest.get("v", "GONEGONE0") == {"n": 0}
    assert child.ask("go") == "done"
    assert latest.get("v", "GONEGONE0") is None
    assert not _bytes_left(memory)
    latest.put("v", "STAYS1", {"n": 99}, at=2)  # written where the other process reads
    assert LmdbLatest(memory).get("v", "STAYS1") == {"n": 99}
    assert child.end() == 0
    assert sorted(path.name for path in memory.iterdir()) == ["fresh-2", "views"]


@pytest.mark.slow
def test_a_killed_forgetting_leaves_each_view_whole_and_is_completed_by_the_next(memory: Path) -> None:
    chance = random.Random(3)
    seen: set[int] = set()
    whole_s = 0.0  # how long it takes when nobody kills it, on this machine as busy as it is
    for turn in range(60):
        if turn > 8 and len(seen) > 1:
            break
        latest = _filled(memory)
        child = _Child(memory, _FORGETS)
        assert child.line() == "ready"
        assert child.process.stdin
        child.process.stdin.write("go\n")
        child.process.stdin.flush()
        begun = time.monotonic()
        if turn:
            time.sleep(chance.uniform(0.0, 1.2 * whole_s))
        else:
            assert child.line() == "done"
            whole_s = time.monotonic() - begun
        child.process.send_signal(signal.SIGKILL)
        assert child.end() == -signal.SIGKILL
        for store in (latest, LmdbLatest(memory)):
            for view in ("v", "w"):
                found = sum(key.startswith("GONEGONE") for key in store.keys(view))
                seen.add(found)
                assert sum(key.startswith("STAYS") for key in store.keys(view)) == 300
                assert store.get(view, "STAYS3") == {"n": -3}
        latest.forget([f"GONEGONE{i}" for i in range(300)])
        assert not _bytes_left(memory)
        assert len(list(memory.glob("fresh*"))) == 1
        assert not list(memory.glob("gone*"))
        assert LmdbLatest(memory).get("v", "STAYS3") == {"n": -3}
    assert seen == {0, 300}


@pytest.mark.parametrize("after", ["views", "made", "left"])
def test_a_forgetting_that_stops_anywhere_is_completed_by_the_next(
    memory: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    latest = _filled(memory)

    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if after == "views":
            patched.setattr(LmdbFile, "renewed", stops)
        elif after == "made":
            patched.setattr(lmdb_file, "sync_folder", stops)
        else:
            patched.setattr(LmdbFile, "remove_older", stops)
        latest.forget([f"GONEGONE{i}" for i in range(300)])
    assert latest.keys("v") == sorted(f"STAYS{i}" for i in range(300))
    latest.put("v", "GONEGONE1", {"n": 7}, at=5)
    assert LmdbLatest(memory).get("v", "GONEGONE1") == {"n": 7}
    assert latest.forget(["GONEGONE1", *(f"GONEGONE{i}" for i in range(300))]) == 1
    assert not _bytes_left(memory)
    assert latest.get("w", "STAYS3") == {"n": -3}


def test_a_store_that_only_deletes_leaves_bytes(memory: Path) -> None:
    """Why the file is renewed: LMDB lets a page go and does not clear it."""
    latest = LmdbLatest(memory)
    latest.put("v", "GONEGONE", {"n": 1}, at=1)
    latest.drop_covered("v", 2)
    assert latest.keys("v") == []
    assert _bytes_left(memory)
    assert latest.forget(["GONEGONE"]) == 0
    assert not _bytes_left(memory)


def test_threads_that_read_meanwhile_each_go_on_to_the_new_file(memory: Path) -> None:
    latest = _filled(memory)
    wrong: list[object] = []
    stop = threading.Event()

    def reads() -> None:
        while not stop.is_set():
            try:
                if latest.get("v", "STAYS3") != {"n": -3} or len(latest.keys("w")) < 300:
                    wrong.append("a row is missing")
            except Exception as error:  # whatever a reader could meet
                wrong.append(error)

    readers = [threading.Thread(target=reads) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(12):
        assert latest.forget([f"GONEGONE{number}"]) == 2
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_an_environment_that_another_thread_is_closing_is_opened_after_it(tmp_path: Path) -> None:
    """The last user in a thread is forgotten a moment before its environment is closed."""
    root = tmp_path / "latest"
    first = LmdbFile.shared(root, 1 << 20)
    name = next(name for name, file in LmdbFile._opened.items() if file is first)
    del LmdbFile._opened[name]
    closing = threading.Timer(0.05, first._closes)
    closing.start()
    second = LmdbFile.shared(root, 1 << 20)
    closing.join()
    assert second is not first
    with second.env.begin() as txn:
        assert txn.get(b"format", db=second.about) == lmdb_file.FORMAT


def test_an_environment_that_stays_open_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_file, "_CLOSING_S", 0.05)
    root = tmp_path / "latest"
    first = LmdbFile.shared(root, 1 << 20)
    LmdbFile._opened.pop(next(name for name, file in LmdbFile._opened.items() if file is first))
    with pytest.raises(Exception, match="already open"):
        LmdbFile.shared(root, 1 << 20)
    first._closes()


@pytest.mark.parametrize("key", ["u", "user 1", "x" * 31, "x" * 32, "ü" * 100, "y" * 400, "z" * 2_000])
def test_every_changed_byte_of_a_fresh_row_is_found_without_decoding_it(key: str) -> None:
    place, raw = place_of("v", key), pack(7, 3, key, {"items": ["a", "b"], "n": 1.5})
    assert is_intact(place, raw) and unpack(raw).key == key
    for at in range(0, len(raw), 1 if len(raw) < 500 else 37):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        assert not is_intact(place, bytes(changed)), at
    for other in (key[:-1], key + "x", "w" + key[1:]):
        assert not is_intact(place_of("v", other), raw), other
    assert not is_intact(place, b"") and not is_intact(place, raw[:20])


def test_a_row_of_an_older_version_has_no_checksum_and_is_intact() -> None:
    raw = pack(7, 3, "user 1", {"n": 1 << 31})  # ends like a checksum
    assert is_intact(place_of("v", "user 1"), raw[:16] + b"\x92" + raw[17:-5])
    assert not is_intact(place_of("v", "user 2"), raw[:16] + b"\x92" + raw[17:-5])


def test_a_part_of_many_rows_is_read_and_another_one_each_time(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    latest.change("v", {f"user {n:03}": lambda _, n=n: {"n": n} for n in range(400)}, 1)
    assert latest.damage() == latest.damage(100) == LmdbLatest(tmp_path / "empty").damage(100) == {}
    with latest._begin(write=True) as txn:
        place = place_of("v", "user 123")
        raw = bytearray(txn.get(place, db=latest._here.file.fresh))
        raw[-8] ^= 1
        txn.put(place, bytes(raw), db=latest._here.file.fresh)
    random.seed(3)
    found = [bool(latest.damage(100)) for _ in range(60)]
    assert 5 < sum(found) < 30  # a quarter of the rows each time
    assert latest.damage(400) and latest.damage() and latest.damage(10_000)
    with pytest.raises(CorruptFile, match="checksum"):
        latest.get("v", "user 123")


def test_a_file_that_was_replaced_while_it_is_opened_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list of the folder and the opening of the file, another process has erased rows."""
    latest = LmdbLatest(tmp_path)
    latest.write("v", "k", rows(("ann", 1, "a", None), ("bob", 2, "b", None)), "1")
    bob = {"n": 3, "s": "c", "l": None}
    latest.put("v", "bob", bob, 1)
    assert latest.forget(["ann"]) == 1
    latest.close()
    true_list, lists = lmdb_file._generations, iter([[1, 2]])
    assert true_list(tmp_path) == [2]
    monkeypatch.setattr(lmdb_file, "_generations", lambda root: next(lists, None) or true_list(root))
    assert LmdbLatest(tmp_path).get("v", "bob") == bob
    assert next(lists, None) is None
