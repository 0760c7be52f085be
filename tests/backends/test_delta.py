"""Delta Lake keeps the port's promises, and the traps of delta-rs that our code steps around are still there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from tidemill.backends.delta.data_file import FILE_ROWS
from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import CorruptFile, StaleWriter
from tidemill.core.ports import Tables
from tidemill.testing.tables import SCHEMA, TablesSuite, some_rows


class TestDelta(TablesSuite):
    def make(self, root: Path) -> Tables:
        return DeltaTables(root)


def test_the_engine_scans_where_files_lie(tmp_path: Path) -> None:
    tables = DeltaTables(tmp_path / "a [1]*")
    tables.create("t", SCHEMA, [])
    places = [tables.locate("t", staged.entry.path) for n in (1, 2) for staged in tables.stage("t", n, some_rows(n))]
    engine = PolarsEngine()
    assert engine.collect(engine.scan(places, SCHEMA))["_row"].to_pylist() == [1, 2]


def test_a_commit_does_not_list_the_files_of_all_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by names: listing the folder at each commit made a run take the square of its days."""
    tables = DeltaTables(tmp_path)
    version = tables.create("t", SCHEMA, [])
    listed: list[int] = []
    true_listdir = os.listdir

    def listdir(folder: Path) -> list[str]:
        listed.append(len(names := true_listdir(folder)))
        return names

    monkeypatch.setattr(os, "listdir", listdir)
    for number in range(1, 31):
        assert tables.discard("t", number) == 0
        version = tables.commit("t", number, version, tables.stage("t", number, some_rows(number)), [], {})
    assert len(listed) <= 1 + 30 // 10  # the empty folder once, and the log at each checkpoint


def test_files_that_another_process_left_are_found_after_one_listing(tmp_path: Path) -> None:
    tables, other = DeltaTables(tmp_path), DeltaTables(tmp_path)
    version = tables.create("t", SCHEMA, [])
    version = tables.commit("t", 1, version, tables.stage("t", 1, some_rows(1)), [], {})
    other.stage("t", 2, some_rows(2))  # and is killed
    assert tables.discard("t", 2) == 1
    tables.stage("t", 2, some_rows(1))
    assert (tables.discard("t", 2), tables.discard("t", 2)) == (1, 0)
    assert len(list((tmp_path / "t").glob("*.parquet"))) == 1


class _ForgetsNumbers(DeltaTables):
    """Wrong: commits a number again."""

    def commit(self, table, number, base, add, remove, note):
        handle = DeltaTable(self._storage.url(table))
        handle.create_write_transaction([*self._adds(table, add)], "append", _schema(self))
        self._handles.pop(table, None)
        return base + 1


def _schema(tables: DeltaTables):
    return tables._handle("t").schema()


class _IsWrong(TablesSuite):
    __test__ = False

    def make(self, root: Path) -> Tables:
        return _ForgetsNumbers(root)


@pytest.mark.parametrize("law", ["test_a_number_is_taken_once", "test_whoever_commits_on_an_old_version_is_refused"])
def test_the_suite_catches_a_backend_that_takes_numbers_twice(tmp_path: Path, law: str) -> None:
    suite = _IsWrong()
    with pytest.raises((AssertionError, BaseException)) as caught:
        getattr(suite, law)(_ForgetsNumbers(tmp_path / "lake"), tmp_path)
    assert not isinstance(caught.value, TypeError)


def committed(root: Path, numbers: int = 1) -> DeltaTables:
    tables = DeltaTables(root)
    version = tables.create("t", SCHEMA, ["who"])
    for number in range(1, numbers + 1):
        version = tables.commit("t", number, version, tables.stage("t", number, some_rows(number)), [], {})
    return tables


def log_file(root: Path, version: int) -> Path:
    return root / "t" / "_delta_log" / f"{version:020d}.json"


def test_any_delta_reader_sees_the_rows(tmp_path: Path) -> None:
    committed(tmp_path, 3)
    found = pa.table(DeltaTable(tmp_path / "t").to_pyarrow_table())
    assert sorted(found["_row"].to_pylist()) == [1, 2, 3]


def test_the_log_holds_no_value_of_text(tmp_path: Path) -> None:
    committed(tmp_path, 12)
    told = b"".join(file.read_bytes() for file in (tmp_path / "t" / "_delta_log").iterdir())
    assert b"person" not in told
    lines = log_file(tmp_path, 1).read_text().splitlines()
    stats = json.loads(next(json.loads(line)["add"]["stats"] for line in lines if '"add"' in line))
    assert stats["minValues"] == {"stars": 1.0, "at": "2020-01-01T00:00:01.000007Z", "_row": 1}


def test_logs_and_old_files_are_kept_for_ever(tmp_path: Path) -> None:
    configuration = DeltaTable(committed(tmp_path)._storage.url("t")).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 36500 days"
    assert configuration["delta.checkpointInterval"] == "10"


def test_a_day_that_is_not_finite_has_no_range(tmp_path: Path) -> None:
    tables = DeltaTables(tmp_path)
    version = tables.create("t", SCHEMA, [])
    rows = some_rows(1, 2).set_column(1, "stars", pa.array([float("nan"), float("inf")]))
    (staged,) = tables.stage("t", 1, rows)
    assert "stars" not in staged.ranges
    assert tables.commit("t", 1, version, [staged], [], {}) == version + 1


def test_half_written_files_are_discarded_by_their_number(tmp_path: Path) -> None:
    """A writer may begin under `.NUMBER-….parquet.tmp` and rename when it is done."""
    tables = committed(tmp_path, 3)
    for number in (2, 3, 4):
        (tmp_path / "t" / f".{number:010d}-0-ab.parquet.tmp").write_bytes(b"half")
    assert (tables.discard("t", 4), tables.discard("t", 3), tables.discard("t", 1)) == (1, 1, 1)
    assert len(tables.files("t", 3)) == len(list((tmp_path / "t").glob("*.parquet*"))) == 3


def test_many_rows_are_several_files(tmp_path: Path) -> None:
    tables = DeltaTables(tmp_path)
    tables.create("t", pa.schema([("n", pa.int64())]), [])
    staged = tables.stage("t", 1, pa.table({"n": range(FILE_ROWS + 5)}))
    assert [file.entry.rows for file in staged] == [FILE_ROWS, 5]
    assert staged[1].ranges == {"n": (FILE_ROWS, FILE_ROWS + 4)}


def test_a_power_cut_that_emptied_the_last_log_file_is_refused(tmp_path: Path) -> None:
    committed(tmp_path, 3)
    log_file(tmp_path, 3).write_bytes(b"")
    assert len(DeltaTable(tmp_path / "t").get_add_actions(flatten=True)) == 2  # delta-rs opens it, rows missing
    with pytest.raises(CorruptFile, match="empty"):
        DeltaTables(tmp_path).create("t", SCHEMA, [])
    with pytest.raises(CorruptFile, match="empty"):
        next(DeltaTables(tmp_path).history("t"))


def test_an_emptied_commit_is_made_again_by_whoever_decided_it(tmp_path: Path) -> None:
    tables = committed(tmp_path, 2)
    staged = tables.stage("t", 3, some_rows(3))
    tables.commit("t", 3, 2, staged, [], {})
    log_file(tmp_path, 3).write_bytes(b"")
    again = DeltaTables(tmp_path)
    assert again.commit("t", 3, 2, staged, [], {}) == 3
    assert len(again.files("t", 3)) == 3


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    committed(tmp_path, 3)
    log_file(tmp_path, 2).write_bytes(b"{")
    with pytest.raises(CorruptFile, match=r"00002\.json"):
        list(DeltaTables(tmp_path).history("t"))
    with pytest.raises(CorruptFile):
        DeltaTables(tmp_path).files("t", 3)


@pytest.mark.parametrize("what", ["checkpoint", "pointer"])
@pytest.mark.parametrize("damage", ["removed", "cut", "zeros", "no UTF-8"])
def test_a_damaged_checkpoint_stops_no_writer_because_the_commits_are_there(
    tmp_path: Path, what: str, damage: str
) -> None:
    tables = committed(tmp_path, 11)
    version, files = 11, tables.files("t", 11)
    (checkpoint,) = (tmp_path / "t" / "_delta_log").glob("*.checkpoint.parquet")
    file = checkpoint if what == "checkpoint" else checkpoint.with_name("_last_checkpoint")
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(
            {"cut": content[:-9], "zeros": bytes(len(content)), "no UTF-8": b"\xe1" + content[1:-9]}[damage]
        )
    again = DeltaTables(tmp_path)
    version = again.commit("t", 12, version, again.stage("t", 12, some_rows(12)), [], {})
    assert set(files) < set(again.files("t", version))
    assert DeltaTables(tmp_path).schema("t") == SCHEMA


def test_a_damaged_checkpoint_stops_no_writer_after_old_versions_have_expired(tmp_path: Path) -> None:
    tables = committed(tmp_path, 45)
    tables.expire("t", 25)
    base = next(tables.history("t")).version
    log = tmp_path / "t" / "_delta_log"
    made = sorted(log.glob("*.checkpoint.parquet"))
    assert len(made) > 1 and not (log / f"{0:020d}.json").exists()
    made[-1].write_bytes(made[-1].read_bytes()[:-9])
    again = DeltaTables(tmp_path)
    version = again.commit("t", 46, base, again.stage("t", 46, some_rows(46)), [], {})
    assert len(again.files("t", version)) == 46
    for file in log.glob("*.checkpoint.parquet"):  # the last one on which the commits rest is left for a person
        file.write_bytes(b"")
    with pytest.raises(CorruptFile, match="cannot be read"):
        DeltaTables(tmp_path).schema("t")
    assert list(log.glob("*.checkpoint.parquet"))


@pytest.mark.parametrize("place", [5994, 5922, 5820, 5661])
def test_a_checkpoint_that_only_another_reader_can_read_stops_no_writer_either(tmp_path: Path, place: int) -> None:
    tables = committed(tmp_path, 11)
    files = tables.files("t", 11)
    (checkpoint,) = (tmp_path / "t" / "_delta_log").glob("*.checkpoint.parquet")
    content = bytearray(checkpoint.read_bytes())
    content[-place] ^= 4
    checkpoint.write_bytes(content)
    again = DeltaTables(tmp_path)
    version = again.commit("t", 12, 11, again.stage("t", 12, some_rows(12)), [], {})
    assert set(files) < set(again.files("t", version))


def test_a_commit_of_another_writer_makes_ours_stale(tmp_path: Path) -> None:
    tables = committed(tmp_path)
    staged = tables.stage("t", 2, some_rows(2))
    foreign = DeltaTable(tmp_path / "t")
    foreign.create_write_transaction([], "append", foreign.schema())
    with pytest.raises(StaleWriter):
        tables.commit("t", 2, 1, staged, [], {})
    assert tables.commit("t", 2, 2, staged, [], {}) == 3


def test_delta_rs_refuses_a_stale_handle_only_where_the_same_id_was_taken(tmp_path: Path) -> None:
    """The fact that our check of numbers rests on."""
    committed(tmp_path)
    first, second = DeltaTable(tmp_path / "t"), DeltaTable(tmp_path / "t")
    for handle in (first, second):
        properties = CommitProperties(app_transactions=[Transaction("tidemill", 9)], max_commit_retries=0)
        if handle is first:
            handle.create_write_transaction([], "append", handle.schema(), commit_properties=properties)
            continue
        with pytest.raises(CommitFailedError):
            handle.create_write_transaction([], "append", handle.schema(), commit_properties=properties)


def test_commits_compile_no_pattern_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps each pattern of a `glob` that it has compiled: a log writer grew by a kilobyte with each commit."""
    compiled: list[str] = []
    true_compile = re.compile

    def noted(pattern: str, flags: int = 0) -> re.Pattern[str]:
        compiled.append(pattern)
        return true_compile(pattern, flags)

    committed(tmp_path, 12)
    monkeypatch.setattr(re, "compile", noted)
    tables = DeltaTables(tmp_path)
    for number in range(13, 40):
        version = next(tables.history("t")).version
        version = tables.commit("t", number, version, tables.stage("t", number, some_rows(number)), [], {})
        assert tables.log_files("t", version)
    assert len(compiled) < 5, compiled
