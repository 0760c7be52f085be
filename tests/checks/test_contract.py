"""The contract split: nothing is lost, nothing wrong gets through, reasons name no value."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.checks import split_refused
from tidemill.core.clock import to_micros
from tidemill.core.contract.contract import Contract, Event, event_time, field, item, subject
from tidemill.core.errors import SchemaChanged


class _Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = field(ge=1, le=5)
    votes: int | None = field(ge=0, default=0)
    note: str | None = None
    at: datetime = event_time(zone="UTC")


_CONTRACT = _Review.contract
_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rating", pa.float64()),
        ("votes", pa.int64()),
        ("note", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("_row", pa.int64()),
        ("extra", pa.string()),
    ]
)
_NOW = datetime(2020, 1, 1, tzinfo=UTC)
_TEXT = st.none() | st.sampled_from(["", "secret-person", "b"])
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": _TEXT,
            "item_id": _TEXT,
            "rating": st.none() | st.sampled_from([0.99, 1.0, 3.0, 5.0, 5.01, math.nan, math.inf, -math.inf]),
            "votes": st.none() | st.integers(-1, 1),
            "note": st.none() | st.just(""),
            "at": st.none() | st.sampled_from([datetime(2019, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)]),
            "extra": st.just("kept"),
        }
    ),
    max_size=20,
)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    numbered = [{**row, "_row": number * 10} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=_SCHEMA)


def _wrong(row: dict[str, Any]) -> list[tuple[str, str]]:
    """The same by hand, row by row."""
    found = []
    for name in ("user_id", "item_id"):
        found += [(name, "missing")] if row[name] is None else [(name, "empty")] if row[name] == "" else []
    rating = row["rating"]
    if rating is None:
        found.append(("rating", "missing"))
    elif not math.isfinite(rating):
        found.append(("rating", "not a finite number"))
    elif rating < 1:
        found.append(("rating", "below 1"))
    elif rating > 5:
        found.append(("rating", "above 5"))
    if row["votes"] is not None and row["votes"] < 0:
        found.append(("votes", "below 0"))
    if row["at"] is None:
        found.append(("at", "missing"))
    elif row["at"] > _NOW:
        found.append(("at", "in the future"))
    return found


def _holds(cut: Any, rows: list[dict[str, Any]]) -> None:
    good, refused = cut(_CONTRACT, _table(rows), not_after=to_micros(_NOW))
    expected = {number * 10: wrong[0] for number, row in enumerate(rows) if (wrong := _wrong(row))}
    assert {row["_row"]: (row["column"], row["reason"]) for row in refused.to_pylist()} == expected
    fine = [number for number, row in enumerate(rows) if not _wrong(row)]
    assert good["_row"].to_pylist() == [number * 10 for number in fine]
    assert good.schema == _SCHEMA
    assert good["votes"].to_pylist() == [rows[number]["votes"] or 0 for number in fine]
    assert good["note"].to_pylist() == [rows[number]["note"] for number in fine]
    assert good.num_rows + refused.num_rows == len(rows)


@settings(deadline=None, max_examples=200)
@given(_ROWS)
def test_each_row_is_good_or_refused_with_its_first_reason(rows: list[dict[str, Any]]) -> None:
    _holds(split_refused, rows)


def _nan_gets_through(contract: Contract, rows: pa.Table, **more: Any) -> Any:
    """Range checks alone: NaN is neither below 1 nor above 5."""
    rating = pc.fill_null(rows["rating"], 0.0)
    nan = pc.is_nan(rating)
    safe = rows.set_column(2, "rating", pc.if_else(nan, pa.scalar(3.0), rows["rating"]))
    good, refused = split_refused(contract, safe, **more)
    return rows.filter(pc.is_in(rows["_row"], value_set=good["_row"].combine_chunks())), refused


def _null_gets_through(contract: Contract, rows: pa.Table, **more: Any) -> Any:
    """A comparison with null is null, and a filter on it drops the row without a word."""
    good, refused = split_refused(contract, rows, **more)
    return good, refused.filter(pc.not_equal(refused["reason"], "missing"))


@pytest.mark.parametrize("wrong", [_nan_gets_through, _null_gets_through])
def test_that_law_catches(wrong: Any) -> None:
    good = {"user_id": "a", "item_id": "b", "rating": 3.0, "votes": 1, "note": "", "at": _NOW, "extra": "kept"}
    rows = [good, good | {"rating": math.nan}, good | {"rating": None}]
    _holds(split_refused, rows)
    with pytest.raises(AssertionError):
        _holds(wrong, rows)


@settings(deadline=None)
@given(_ROWS)
def test_no_value_stands_in_a_reason(rows: list[dict[str, Any]]) -> None:
    _, refused = split_refused(_CONTRACT, _table(rows))
    assert "secret" not in str(refused.select(["column", "reason"]).to_pylist())


def test_rows_in_several_chunks_are_one_table() -> None:
    good = {"user_id": "a", "item_id": "b", "rating": 3.0, "votes": 1, "note": "", "at": _NOW, "extra": "kept"}
    table = pa.concat_tables([_table([good]), _table([good | {"rating": 9.0}]), _table([good])])
    kept, refused = split_refused(_CONTRACT, table)
    assert (kept.num_rows, refused["reason"].to_pylist()) == (2, ["above 5"])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaChanged, match="did you mean `raiting`"):
        split_refused(_CONTRACT, _table([]).rename_columns({"rating": "raiting"}))
