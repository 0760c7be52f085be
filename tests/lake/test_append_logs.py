"""Log tables: a batch is taken once, whatever happens between its commit and its line."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from shop_lake import Shop, contents, publish, reviews

from tidemill.core.errors import SchemaChanged
from tidemill.lake import append_logs


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
    first = record(shop, 1, answers(1, 2))
    second = record(shop, 2, answers(3))
    assert second == first + 1
    assert ids(shop) == ["p1", "p2", "p3"]
    number, version, note = shop.lake.recorded("predictions") or (0, 0, {})
    assert (number, version, note["offset"]) == (2, second, "20")
    lines = shop.ledger.find("log", about="table:predictions")
    assert [(line.details["number"], line.details["rows"], line.details["version"]) for line in lines] == [
        (1, 2, first),
        (2, 1, second),
    ]
    assert lines[0].details["sources"] == '{"offset":"10"}'
    assert shop.lake.verify() == []


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
