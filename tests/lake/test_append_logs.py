"""Log tables: a batch is taken once, whatever happens between its commit and its line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from shop_lake import Shop, contents, publish, reviews

from tidemill.core.errors import CorruptFile, SchemaChanged
from tidemill.core.storage import failpoint
from tidemill.core.storage.failpoint import arm
from tidemill.core.storage.verification import Verification
from tidemill.lake import LogWindow, append_logs
from tidemill.lake.manifest import Manifests
from tidemill.lake.verify import verify_without_ledger


def answers(*numbers: int) -> pa.Table:
    return pa.table({"id": [f"p{number}" for number in numbers], "items": [[str(number)] for number in numbers]})


def record(shop: Shop, number: int, rows: pa.Table) -> int:
    with shop.leases.take("log") as lease:
        return shop.lake.record("predictions", rows, number, {"offset": str(number * 10)}, lease)


def ids(shop: Shop) -> list[str]:
    found = shop.lake.log("predictions")
    return [] if found is None else sorted(found["id"].to_pylist())


def test_batches_are_added_and_said(shop: Shop) -> None:
    assert shop.lake.recorded("predictions") is None and shop.lake.log("predictions") is None
    assert shop.lake.log_rows("predictions") == 0
    first = record(shop, 1, answers(1, 2))
    second = record(shop, 2, answers(3))
    assert second == first + 1
    assert ids(shop) == ["p1", "p2", "p3"] and shop.lake.log_rows("predictions") == 3
    number, version, note = shop.lake.recorded("predictions") or (0, 0, {})
    assert (number, version, note["offset"]) == (2, second, "20")
    lines = shop.ledger.find("log", about="table:predictions")
    assert [(line.details["number"], line.details["rows"], line.details["version"]) for line in lines] == [
        (1, 2, first),
        (2, 1, second),
    ]
    assert lines[0].details["sources"] == '{"offset":"10"}'
    assert shop.lake.verify() == []


def test_a_window_reads_only_the_columns_and_files_that_it_needs(shop: Shop) -> None:
    for number in range(1, 5):
        at = pa.array([number * 100, number * 100 + 9], pa.timestamp("us", "UTC"))
        record(shop, number, pa.table({"id": [f"a{number}", f"b{number}"], "at": at, "long": ["x" * 100] * 2}))

    def read(**more: int) -> list[str]:
        found = shop.lake.log("predictions", LogWindow(("id", "gone"), "at", **more))
        assert found is not None and found.column_names == ["id"]
        return sorted(found["id"].to_pylist())

    assert len(read()) == 8
    assert read(since=305) == ["a3", "a4", "b3", "b4"]  # whole files
    assert read(most_rows=3) == ["a3", "a4", "b3", "b4"]
    assert read(most_rows=1) == ["a4", "b4"]
    assert read(since=500) == []


def test_a_batch_that_comes_again_changes_nothing(shop: Shop, reopen: Callable[[], Shop]) -> None:
    version = record(shop, 1, answers(1))
    record(shop, 2, answers(2))
    assert record(reopen(), 1, answers(1)) == version
    assert ids(shop) == ["p1", "p2"]
    assert len(shop.ledger.find("log")) == 2


def test_the_test_above_catches_a_writer_that_does_not_look(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: every batch under the next free number."""
    right = append_logs.AppendLogs.record
    given = []

    def wrong(self, table, rows, number, note, lease):
        given.append(number)
        return right(self, table, rows, len(given), note, lease)

    monkeypatch.setattr(append_logs.AppendLogs, "record", wrong)
    record(shop, 1, answers(1))
    record(shop, 1, answers(1))
    assert ids(shop) == ["p1", "p1"]


def test_many_batches_are_few_files(shop: Shop) -> None:
    for number in range(1, 31):
        record(shop, number, answers(number))
    assert len(ids(shop)) == 30
    assert len(shop.tables.files("predictions", shop.lake.recorded("predictions")[1])) <= 24  # type: ignore[index]
    assert shop.lake.verify() == []


def with_scores(rows: pa.Table) -> pa.Table:
    return rows.append_column("score", pa.array([0.5] * rows.num_rows))


def test_a_new_column_is_added_with_nulls_in_the_rows_before(shop: Shop, reopen: Callable[[], Shop]) -> None:
    for number in range(1, 4):
        record(shop, number, answers(number))
    record(shop, 4, with_scores(answers(4)))
    record(reopen(), 5, with_scores(answers(5)))
    found = reopen().lake.log("predictions")
    assert found is not None and found.column_names == ["id", "items", "score"]
    assert sorted(zip(*(found[name].to_pylist() for name in ("id", "score")), strict=True), key=str) == [
        ("p1", None), ("p2", None), ("p3", None), ("p4", 0.5), ("p5", 0.5),
    ]  # fmt: skip
    assert shop.lake.verify() == [] and shop.ledger.verify(shop.lake.heads()) == []


def test_a_writer_that_knows_fewer_columns_adds_to_the_log(shop: Shop) -> None:
    record(shop, 1, with_scores(answers(1)))
    record(shop, 2, answers(2))
    found = shop.lake.log("predictions")
    assert found is not None and sorted(found["score"].to_pylist(), key=str) == [0.5, None]
    assert shop.lake.verify() == []


@pytest.mark.parametrize("point", ["log.staged", "log.committed"])
def test_a_widening_that_is_interrupted_is_done_once(
    shop: Shop, reopen: Callable[[], Shop], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(shop, 1, answers(1))

    def stop(name: str) -> None:
        if name == point:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(append_logs, "failpoint", stop)
        with pytest.raises(InterruptedError):
            record(shop, 2, with_scores(answers(2)))
    again = reopen()
    record(again, 2, with_scores(answers(2)))
    assert ids(again) == ["p1", "p2"] and again.lake.verify() == []


def test_a_column_of_another_type_is_refused(shop: Shop) -> None:
    record(shop, 1, answers(1))
    with pytest.raises(SchemaChanged, match="items"):
        record(shop, 2, answers(2).set_column(1, "items", pa.array([1])))
    assert ids(shop) == ["p1"]


def test_numbers_start_at_one(shop: Shop) -> None:
    with pytest.raises(ValueError, match="from 1"):
        record(shop, 0, answers(1))


def test_log_tables_and_publications_do_not_meet(shop: Shop) -> None:
    record(shop, 1, answers(1))
    publish(shop, 1, reviews(("ann", "x", 0, 5.0)))
    record(shop, 2, answers(2))
    assert set(shop.lake.view().versions) == {"reviews"}
    assert [len(contents(shop.lake.view().arrow("reviews"))), len(ids(shop))] == [1, 2]
    assert shop.ledger.verify(shop.lake.heads()) == []


def test_a_merge_is_bounded_by_its_rows(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_logs, "COMPACTED_ROWS", 50)
    for number in range(1, 50):
        record(shop, number, answers(*range(number * 20, number * 20 + 20)))
    merged = [shop.tables.read("predictions", file, []).num_rows for file in shop.tables.files("predictions", 49)]
    assert sum(merged) == 49 * 20 and max(merged) <= 60


def traffic(shop: Shop, first: int, last: int, minutes: int = 5) -> None:
    """One batch every `minutes`."""
    for number in range(first, last + 1):
        shop.clock.set(shop.clock.now() + timedelta(minutes=minutes))
        record(shop, number, answers(number))


def stored(shop: Shop) -> set[str]:
    """Every file of the log table and its manifests."""
    return {
        str(path.relative_to(shop.root))
        for path in (shop.root / "lake").rglob("*")
        if "predictions" in str(path) and path.is_file()
    }


def oldest(shop: Shop) -> int:
    line = shop.ledger.last("log")
    assert line is not None
    return int(line.details["oldest"])


def test_a_log_keeps_its_rows_and_the_versions_of_the_last_hours(shop: Shop, reopen: Callable[[], Shop]) -> None:
    sizes = []
    for number in range(1, 121):
        traffic(shop, number, number)
        sizes.append(len(stored(shop)))
    assert max(sizes[60:]) <= max(sizes[:60]) + 4 < 150  # not three files for each batch
    assert ids(shop) == ids(reopen()) == sorted(f"p{number}" for number in range(1, 121))
    assert shop.lake.verify() == [] and reopen().lake.verify() == []
    version = shop.lake.recorded("predictions")[1]  # type: ignore[index]
    assert version - 24 <= oldest(shop) <= version - 12
    table = str(shop.root / "lake" / "predictions")
    assert [DeltaTable(table, version=at).to_pyarrow_table().num_rows for at in (version - 12, version)] == [108, 120]
    assert record(shop, 3, answers(3)) == 3  # repeated, though that version is no longer kept
    assert [line.details["number"] for line in shop.ledger.find("log")] == list(range(1, 121))


def test_a_kept_version_that_is_lost_is_found(shop: Shop) -> None:
    traffic(shop, 1, 60)
    log = sorted((shop.root / "lake" / "predictions" / "_delta_log").glob("*.json"))
    manifests = sorted((shop.root / "lake/_tidemill/manifests/predictions").iterdir(), key=lambda path: int(path.stem))
    assert int(manifests[0].stem) == oldest(shop)
    for file, word in (
        (log[-5], "lacks version"),
        (manifests[0], manifests[0].name),
        (manifests[-3], manifests[-3].name),
    ):
        content = file.read_bytes()
        file.unlink()
        assert any(word in problem for problem in shop.lake.verify())
        file.write_bytes(content)
        assert shop.lake.verify() == []


class Killed(BaseException):
    """Stands for SIGKILL where a test stays in its own process."""


@pytest.mark.parametrize("point", ["log.staged", "log.committed", "expire.manifests", "expire.data", "expire.log"])
def test_a_crash_while_versions_expire_is_made_good(
    shop: Shop, reopen: Callable[[], Shop], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: str
) -> None:
    """Killed in the first, and then in a second removal; what is left is what a log without crashes leaves."""

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(failpoint.os, "kill", die)
    number, opened = 1, shop
    for last in (14, 40):
        traffic(opened, number, last)
        arm(point)
        number = last + 1
        with pytest.raises(Killed):
            while True:
                traffic(opened, number, number)
                number += 1
        arm(None)
        now, opened = opened.clock.now(), reopen()
        opened.clock.set(now)
        lost = point == "log.staged"
        assert ids(opened) == sorted(f"p{n}" for n in range(1, number + (not lost)))
        said = opened.lake.verify()
        if point == "log.committed":  # until the next batch writes its ledger entry
            assert len(said) == 1 and "not in the ledger yet" in said[0]
        else:
            assert said == []
        blind = Verification("lake")  # with the ledger away
        verify_without_ledger(opened.tables, Manifests(opened.objects, opened.tables), blind)
        assert blind.problems == [] and blind.places
        record(opened, number, answers(number))
        assert opened.lake.verify() == []
        number += 1
    traffic(opened, number, 80)
    assert ids(opened) == sorted(f"p{n}" for n in range(1, 81)) and opened.lake.verify() == []
    kept = [f"manifests/predictions/{version}.json" for version in range(oldest(opened), 82)]
    assert sum(any(file.endswith(one) for one in kept) for file in stored(opened)) == len(kept)
    named = {path for one in opened.tables.history("predictions") for path in (*one.added, *one.removed)}
    named |= set(opened.tables.files("predictions", 81))
    assert {Path(file).name for file in stored(opened) if file.startswith("lake/predictions/0")} <= named


def test_a_reader_of_a_version_that_expires_reads_the_next_one(shop: Shop, reopen: Callable[[], Shop]) -> None:
    traffic(shop, 1, 26)
    reader, collect = reopen(), shop.engine.collect

    def late(frame: object) -> pa.Table:
        reader.engine.collect = collect  # type: ignore[method-assign]
        traffic(shop, 27, 90, minutes=20)  # merges and removes files that the reader is about to open
        return collect(frame)

    reader.engine.collect = late  # type: ignore[method-assign]
    assert ids(reader) == sorted(f"p{number}" for number in range(1, 91))


def test_a_damaged_file_is_an_error_and_not_read_again_forever(shop: Shop) -> None:
    traffic(shop, 1, 30)
    (shop.root / "lake" / "predictions" / shop.tables.files("predictions", 30)[0]).unlink()
    with pytest.raises(CorruptFile, match="missing"):
        shop.lake.log("predictions")


def test_verification_while_batches_arrive_finds_nothing(shop: Shop, reopen: Callable[[], Shop]) -> None:
    """The ledger is read before the tables; a commit and an expiry in between are no damage."""
    traffic(shop, 1, 24)
    other = reopen()
    history, numbers = other.tables.history, iter((25, 26))

    def late(table: str) -> object:
        if (number := next(numbers, None)) is not None:
            traffic(shop, number, number, minutes=70)
        return history(table)

    other.tables.history = late  # type: ignore[method-assign, assignment]
    assert other.lake.verify() == []
    assert next(numbers, None) is None and oldest(shop) > 12
