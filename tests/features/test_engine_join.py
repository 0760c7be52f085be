"""The join on the engine, in parts by entity: the join in memory, row for row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import GraphError, TypeMismatch, UnknownName
from tidemill.core.ports import Engine
from tidemill.features import PointInTimeJoin, ViewSpec, point_in_time, view_history
from tidemill.features.engine_join import HistoryJoin, point_in_time_frame
from tidemill.features.feature_history import current_rows, history_frame, view_at

ENGINE = PolarsEngine()
FACTS = pa.schema(
    [
        ("u", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("_known_at", pa.timestamp("us", "UTC")),
        ("_row", pa.int64()),
        ("x", pa.float64()),
        ("b", pa.string()),
    ]
)
EXAMPLES = pa.schema([("who", pa.string()), ("when", pa.timestamp("us", "UTC")), ("id", pa.int64())])
TIMES = st.none() | st.integers(0, 40)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "u": st.none() | st.sampled_from("xyzvw"),
            "at": TIMES,
            "_known_at": TIMES,
            "_row": st.none() | st.integers(0, 2),
            "x": st.none() | st.sampled_from([0.1, 0.2, 1e16, -1e16, float("inf"), float("nan"), 3.0]),
            "b": st.none() | st.sampled_from("pq"),
        }
    ),
    max_size=16,
)
ASKED = st.lists(
    st.fixed_dictionaries({"who": st.none() | st.sampled_from("xyzvwu"), "when": TIMES, "id": st.integers(0, 99)}),
    max_size=10,
)


def totals(rows: Any) -> Any:
    made = rows.filter(nw.col("b") == "p").group_by("u")
    return made.agg(n=nw.len(), sum=nw.col("x").sum(), mean=nw.col("x").mean()).with_columns(twice=nw.col("n") * 2)


def extremes(rows: Any) -> Any:
    return rows.group_by("u").agg(n=nw.len(), high=nw.col("_row").max())


def spec_of(function: Any, ttl: int | None = None, **more: Any) -> ViewSpec:
    return ViewSpec("v", "u", lambda rows: function(rows), ("rows",), {"rows": "at"}, ttl_us=ttl, **more)


VIEWS = {
    "rows": spec_of(lambda rows: rows),
    "rows by event": spec_of(lambda rows: rows.select("u", "at", "x", "b"), ttl=9, known="event"),
    "totals": spec_of(totals, window_us=15, every_us=5),
    "extremes": spec_of(extremes, ttl=4, window_us=10, every_us=5),
}
TAKEN = {
    "rows": ["x", "b", "_at", "_known_at"],
    "rows by event": ["x", "b"],
    "totals": ["n", "sum", "mean", "twice", "_at", "_until"],
    "extremes": ["n", "high"],
}


def by_row(rows: pa.Table) -> list[str]:
    return sorted(str(row) for row in rows.to_pylist())


def in_memory(engine: Engine, facts: pa.Table, asked: pa.Table, views: list[str]) -> pa.Table:
    joined = asked
    for name in views:
        spec = replace(VIEWS[name], name=name)
        history = view_history(spec, {"rows": engine.frame(facts)}, engine, start=None, end=50)
        join = PointInTimeJoin.from_view(spec, history, "who", {f"{name} {column}": column for column in TAKEN[name]})
        joined = point_in_time(joined, time="when", joins=[join])
    return joined


def on_engine(engine: Engine, facts: pa.Table, asked: pa.Table, views: list[str], parts: int) -> pa.Table:
    joins = []
    for name in views:
        spec = replace(VIEWS[name], name=name)
        history = history_frame(spec, {"rows": engine.frame(facts)}, engine, start=None, end=50, parts=parts)
        joins.append(HistoryJoin(history, spec, "who", {f"{name} {column}": column for column in TAKEN[name]}))
    frame, schema = point_in_time_frame(
        engine, engine.frame(asked), asked.schema, time="when", joins=joins, parts=parts
    )
    found = engine.collect(frame)
    assert found.schema.equals(schema)
    return found


@settings(max_examples=40)
@given(ROWS, ASKED, st.sampled_from(sorted(VIEWS)), st.sampled_from([1, 3]))
def test_in_parts_it_is_the_join_in_memory(rows: Any, asked: Any, view: str, parts: int) -> None:
    facts, examples = pa.Table.from_pylist(rows, schema=FACTS), pa.Table.from_pylist(asked, schema=EXAMPLES)
    expected = in_memory(ENGINE, facts, examples, [view])
    found = on_engine(ENGINE, facts, examples, [view], parts)
    assert found.schema.names == expected.schema.names
    assert by_row(found) == by_row(expected)


@settings(max_examples=25)
@given(ROWS, st.sampled_from(sorted(VIEWS)), st.integers(0, 50))
def test_the_current_rows_are_the_same_in_parts(rows: Any, view: str, now: int) -> None:
    given_ = {"rows": ENGINE.frame(pa.Table.from_pylist(rows, schema=FACTS))}
    frame, schema = current_rows(VIEWS[view], given_, ENGINE, as_of=now, parts=3)
    found = ENGINE.collect(frame)
    assert found.schema.equals(schema)
    assert by_row(found) == by_row(view_at(VIEWS[view], given_, ENGINE, as_of=now))


def test_values_far_from_each_other_do_not_change_other_entities() -> None:
    """A sum in parts has the bits of the sum at once, whatever other entities have."""
    at = [5, 5, 5]
    facts = pa.table(
        {"u": ["x", "x", "y"], "at": at, "_known_at": at, "_row": at, "x": [0.1, 0.2, 1e300], "b": ["p"] * 3}
    )
    facts = facts.cast(FACTS)
    asked = pa.table({"who": ["x"], "when": [11], "id": [1]}).cast(EXAMPLES)
    for parts in (1, 7):
        assert on_engine(ENGINE, facts, asked, ["totals"], parts)["totals sum"].to_pylist() == [0.1 + 0.2]


def test_errors_are_those_of_the_join_in_memory() -> None:
    facts, asked = FACTS.empty_table(), EXAMPLES.empty_table()
    history = history_frame(VIEWS["rows"], {"rows": ENGINE.frame(facts)}, ENGINE, start=None, end=50)

    def join(spec: ViewSpec, by: str, column: str, time: str = "when") -> None:
        joins = [HistoryJoin(history, spec, by, {"made": column})]
        point_in_time_frame(ENGINE, ENGINE.frame(asked), asked.schema, time=time, joins=joins, parts=2)

    with pytest.raises(TypeMismatch, match="int64, but those of the view are string"):
        join(VIEWS["rows"], "id", "x")
    with pytest.raises(UnknownName, match="no column 'y'"):
        join(VIEWS["rows"], "who", "y")
    with pytest.raises(UnknownName, match="no column 'whom'"):
        join(VIEWS["rows"], "whom", "x")
    with pytest.raises(UnknownName, match="no column 'then'"):
        join(VIEWS["rows"], "who", "x", time="then")
    unknown = spec_of(lambda rows: rows.drop("_known_at"))
    with pytest.raises(GraphError, match="_known_at"):
        history_frame(unknown, {"rows": ENGINE.frame(facts)}, ENGINE, start=None, end=50)
    untimed = spec_of(lambda rows: rows.with_columns(at=nw.col("b")))
    with pytest.raises(TypeMismatch, match="the times in 'at' are string"):
        history_frame(untimed, {"rows": ENGINE.frame(facts)}, ENGINE, start=None, end=50)
