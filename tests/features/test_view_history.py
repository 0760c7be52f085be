"""Views over time: what each boundary alone gives, in one pass; the past does not change; backfill is day by day."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import GraphError, UnknownName
from tidemill.features import PointInTimeJoin, ViewSpec, point_in_time, view_at, view_history
from tidemill.features.aggregate_recognition import recognise_aggregates
from tidemill.features.value_intervals import merge_intervals
from tidemill.features.window_evaluation import each_boundary, seen

ENGINE = PolarsEngine()
SCHEMA = pa.schema(
    [
        ("u", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("_known_at", pa.timestamp("us", "UTC")),
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("ok", pa.bool_()),
        ("c", pa.string()),
    ]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "u": st.none() | st.sampled_from("ab"),
            "at": st.none() | st.integers(-20, 60),
            "_known_at": st.none() | st.integers(-20, 80),
            "n": st.none() | st.integers(-(2**40), 2**40),
            "x": st.none() | st.floats(0.001, 1e6),
            "ok": st.none() | st.booleans(),
            "c": st.none() | st.sampled_from("pq"),
        }
    ),
    max_size=10,
)
View = Callable[[Any], Any]


def usual(rows: Any) -> Any:
    return rows.group_by("u").agg(
        n_rows=nw.len(),
        n_known=nw.col("n").count(),
        total=nw.col("n").sum(),
        mean=nw.col("x").mean(),
        sum_x=nw.col("x").sum(),
        oks=nw.col("ok").sum(),
    )


def steps(rows: Any) -> Any:
    good = rows.filter(nw.col("n") > 0, nw.col("c").is_in(["p"])).with_columns(twice=nw.col("x") * 2)
    made = good.select("u", "twice", "n").group_by(nw.col("u")).agg(nw.col("twice", "n").sum(), nw.len().alias("rows"))
    return made.with_columns(share=nw.col("twice") / nw.col("rows")).filter(nw.col("rows") < 3)


def ratios(rows: Any) -> Any:
    return rows.group_by(["u"]).agg(
        (nw.col("n").sum() / nw.len()).alias("per_row"),
        liked=nw.col("x").filter(nw.col("ok")).sum(),
        rate=nw.col("ok").mean(),
        large=(nw.col("n") > 5).sum(),
        one=nw.when(nw.col("c") == "p").then(1).otherwise(0).sum(),
        rounded=nw.col("x").count().cast(nw.Float64) * 2,
        n_rows=nw.col("x").len(),
    )


def piped(rows: Any) -> Any:
    return (
        rows.rename({"x": "price"})
        .drop("c")
        .drop_nulls("n")
        .lazy()
        .pipe(lambda f: f.group_by("u").agg(nw.mean("price")))
    )


def newest_first(rows: Any) -> Any:
    return rows.sort("at").group_by("u").agg(nw.len())


def extremes(rows: Any) -> Any:
    return rows.group_by("u").agg(low=nw.col("x").min(), high=nw.col("x").max(), n=nw.len())


def distinct(rows: Any) -> Any:
    return rows.unique(["u", "c"]).group_by("u").agg(kinds=nw.len())


def windowed(rows: Any) -> Any:
    return rows.with_columns(share=nw.col("x") / nw.col("x").sum().over("u")).group_by("u").agg(nw.col("share").sum())


def twice_grouped(rows: Any) -> Any:
    return rows.group_by("u").agg(n=nw.len()).group_by("u").agg(m=nw.col("n").sum())


def by_two(rows: Any) -> Any:
    return rows.group_by("u", "c").agg(n=nw.len())


def everything(rows: Any) -> Any:
    return rows.select(nw.all()).group_by("u").agg(n=nw.len())


def literal(rows: Any) -> Any:
    return rows.select(u=nw.lit("a")).group_by("u").agg(n=nw.len())


def joined(rows: Any) -> Any:
    return rows.join(rows.group_by("c").agg(k=nw.len()), on="c").group_by("u").agg(nw.col("k").sum())


RECOGNISED = [usual, steps, ratios, piped]
OPAQUE = [newest_first, extremes, distinct, windowed, twice_grouped, by_two, everything, literal, joined]


def spec_of(function: View, window: int = 30, every: int = 10, **more: Any) -> ViewSpec:
    return ViewSpec(
        "v", "u", lambda rows: function(rows), ("rows",), {"rows": "at"}, window_us=window, every_us=every, **more
    )


def frames(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": ENGINE.frame(pa.Table.from_pylist(rows, schema=SCHEMA))}


def values(history: pa.Table, every: int) -> dict[tuple[str, int], dict[str, Any]]:
    """What each entity has at each boundary."""
    found = {}
    for row in history.to_pylist():
        at, until = row.pop("_at"), row.pop("_until", None)
        for boundary in range(at, (at if until is None else until) + 1, every):
            assert (row["u"], boundary) not in found
            found[row["u"], boundary] = row
    return found


def same(one: Mapping[Any, dict[str, Any]], other: Mapping[Any, dict[str, Any]]) -> bool:
    def alike(a: Any, b: Any) -> bool:
        if not isinstance(a, float) or not isinstance(b, float):
            return bool(a == b and type(a) is type(b))
        return math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b))

    return one.keys() == other.keys() and all(
        one[key].keys() == other[key].keys() and all(alike(one[key][name], other[key][name]) for name in one[key])
        for key in one
    )


@pytest.mark.parametrize("function", RECOGNISED)
def test_the_usual_forms_are_recognised(function: View) -> None:
    assert recognise_aggregates(spec_of(function)) is not None


@pytest.mark.parametrize("function", OPAQUE)
def test_what_is_not_known_is_not_guessed(function: View) -> None:
    assert recognise_aggregates(spec_of(function)) is None


@settings(max_examples=40)
@given(
    ROWS, st.sampled_from(RECOGNISED), st.sampled_from([7, 10, 35]), st.sampled_from([5, 10]), st.integers(0, 30),
    st.sampled_from(["known", "event"]),
)  # fmt: skip
def test_in_one_pass_it_is_each_boundary_alone(
    rows: Any, function: View, window: int, every: int, start: int, known: str
) -> None:
    spec = spec_of(function, window, every, known=known)
    made = view_history(spec, frames(rows), ENGINE, start=start, end=75)
    alone = each_boundary(spec, frames(rows), ENGINE, -(-start // every), 75 // every)
    assert made.schema.remove_metadata().equals(alone.schema.remove_metadata())
    assert same(values(made, every), values(alone, every))
    whole = view_history(spec, frames(rows), ENGINE, start=None, end=75)
    later = {key: row for key, row in values(whole, every).items() if key[1] >= start}
    assert same(later, values(made, every))
    assert merge_intervals(made, "u", every).equals(made)


@settings(max_examples=30)
@given(ROWS, ROWS, st.sampled_from(RECOGNISED), st.integers(0, 70))
def test_what_becomes_known_later_changes_no_earlier_boundary(rows: Any, late: Any, function: View, now: int) -> None:
    spec = spec_of(function)
    late = [row for row in late if row["_known_at"] is not None and row["_known_at"] > now]
    before = view_history(spec, frames(rows), ENGINE, start=None, end=now)
    after = view_history(spec, frames([*rows, *late]), ENGINE, start=-20, end=now)
    assert values(after, 10) == values(before, 10)


@settings(max_examples=15)
@given(ROWS, st.sampled_from([usual, extremes]))
def test_history_in_one_go_is_day_by_day_with_the_rows_that_had_arrived(rows: Any, function: View) -> None:
    spec = spec_of(function)
    whole = values(view_history(spec, frames(rows), ENGINE, start=0, end=70), 10)
    for day in range(0, 71, 10):
        arrived = [row for row in rows if row["_known_at"] is not None and row["_known_at"] <= day]
        # the day's run comes a little after its boundary
        online = view_at(spec, frames(arrived), ENGINE, as_of=day + 3)
        assert same(values(online, 10), {key: row for key, row in whole.items() if key[1] == day})


@settings(max_examples=40)
@given(ROWS, st.sampled_from([usual, None]), st.integers(0, 90), st.sampled_from(["known", "event"]))
def test_what_is_trained_on_is_what_goes_online(rows: Any, function: View | None, now: int, known: Any) -> None:
    """The join at an instant gives each entity the very row that `view_at` gives for that instant."""
    spec = spec_of(function, known=known) if function else rows_spec(known=known)
    columns = ["n_rows", "mean", "total"] if function else ["n", "x", "ok", "c", "_at"]
    history = view_history(spec, frames(rows), ENGINE, start=None, end=90)
    join = PointInTimeJoin.from_view(
        replace(spec, name="view"), history, "who", {f"v_{name}": name for name in columns}
    )
    examples = pa.table({"who": ["a", "b"], "at": [now, now]})
    trained = point_in_time(examples, time="at", joins=[join], statuses=True).to_pylist()
    online = {row["u"]: row for row in view_at(spec, frames(rows), ENGINE, as_of=now).to_pylist()}
    for row in trained:
        found = online.get(row["who"])
        assert row["view.status"] == ("missing" if found is None else "present")
        if found is not None:
            assert same({0: {name: row[f"v_{name}"] for name in columns}}, {0: {name: found[name] for name in columns}})


def test_a_late_row_counts_from_when_it_was_known_until_it_leaves_the_window() -> None:
    row = dict.fromkeys(SCHEMA.names) | {"u": "a", "n": 1}
    history = view_history(
        spec_of(usual),
        frames([row | {"at": 5, "_known_at": 22}, row | {"at": 3, "_known_at": 50}]),
        ENGINE,
        start=None,
        end=99,
    )
    assert [(r["n_rows"], r["_at"], r["_until"]) for r in history.to_pylist()] == [(1, 30, 30)]
    assert history.schema.metadata == {b"tidemill.every_us": b"10", b"tidemill.last_at": b"90"}


def test_sums_of_floats_come_back_to_where_they_were() -> None:
    row = dict.fromkeys(SCHEMA.names) | {"u": "a"}
    xs = [(5, 0.1), (15, 1e16), (16, math.inf), (17, math.nan), (41, 0.2)]
    rows = [row | {"at": at, "_known_at": at, "x": x} for at, x in xs]
    made = values(view_history(spec_of(usual), frames(rows), ENGINE, start=None, end=90), 10)
    sums = {at: found["sum_x"] for (_, at), found in made.items()}
    assert sums[10] == 0.1
    assert math.isnan(sums[20])
    assert sums[50] == sums[70] == 0.2


def test_an_entity_has_one_row_at_a_boundary_or_it_is_refused() -> None:
    row = dict.fromkeys(SCHEMA.names) | {"u": "a", "at": 5, "_known_at": 5}
    with pytest.raises(GraphError, match="2 rows for 1 values"):
        view_history(spec_of(by_two), frames([row | {"c": "p"}, row | {"c": "q"}]), ENGINE, start=None, end=20)


def test_an_input_that_cannot_say_when_it_was_known_is_refused() -> None:
    rows = pa.Table.from_pylist([], schema=SCHEMA).drop_columns(["_known_at"])
    with pytest.raises(GraphError, match="_known_at"):
        view_at(spec_of(usual), {"rows": ENGINE.frame(rows)}, ENGINE, as_of=5)
    assert view_at(spec_of(usual, known="event"), {"rows": ENGINE.frame(rows)}, ENGINE, as_of=5).num_rows == 0


def test_an_event_time_that_is_not_there_and_a_window_without_one_are_refused() -> None:
    with pytest.raises(UnknownName, match="no event time 'when'"):
        view_history(replace(spec_of(usual), times={"rows": "when"}), frames([]), ENGINE, start=None, end=9)
    with pytest.raises(GraphError, match="none of its inputs"):
        view_history(replace(spec_of(usual), times={}), frames([]), ENGINE, start=None, end=9)
    whole = view_history(replace(spec_of(usual), times={}), frames([]), ENGINE, start=0, end=9)
    assert whole.column_names[-2:] == ["_at", "_until"]


def test_a_second_input_without_an_event_time_is_as_it_was_known() -> None:
    names = pa.table({"c": ["p", "q"], "w": [1, 10], "_known_at": [0, 25]})
    row = dict.fromkeys(SCHEMA.names) | {"u": "a", "at": 5, "_known_at": 5}

    def weighed(rows: Any, names: Any) -> Any:
        return rows.join(names.drop("_known_at"), on="c").group_by("u").agg(nw.col("w").sum())

    spec = ViewSpec("v", "u", weighed, ("rows", "names"), {"rows": "at", "names": ""}, window_us=30, every_us=10)
    given_ = {**frames([row | {"c": "p"}, row | {"c": "q"}]), "names": ENGINE.frame(names)}
    made = view_history(spec, given_, ENGINE, start=None, end=99)
    assert made.to_pylist() == [
        {"u": "a", "w": 1, "_at": 10, "_until": 20},
        {"u": "a", "w": 11, "_at": 30, "_until": 30},
    ]


def test_a_boundary_reads_only_the_rows_of_its_window(tmp_path: Path) -> None:
    """The window reaches the files as a filter: what lies outside is not read."""
    pq.write_table(pa.Table.from_pylist([], schema=SCHEMA), tmp_path / "rows.parquet")
    frame = ENGINE.scan([str(tmp_path / "rows.parquet")], SCHEMA)
    plan = seen(spec_of(usual), "rows", frame, 0, 30, known_by=30).to_native().explain()
    scan = plan[plan.index("Parquet SCAN") :]
    assert "SELECTION" in scan
    assert scan.count('col("at")') == 2
    assert 'col("_known_at")' in scan


def rows_spec(function: View = lambda rows: rows, known: str = "known") -> ViewSpec:
    return ViewSpec("v", "u", lambda rows: function(rows), ("rows",), {"rows": "at"}, known=known)  # type: ignore[arg-type]


def test_a_view_of_rows_keeps_both_times_and_the_newest_goes_online() -> None:
    row = dict.fromkeys(SCHEMA.names) | {"u": "a"}
    times = [(1, 1, 10), (5, 30, 11), (3, 4, 12), (40, 40, 13)]
    given_ = frames([row | {"at": at, "_known_at": known, "n": n} for at, known, n in times])
    made = view_history(rows_spec(), given_, ENGINE, start=None, end=35)
    assert sorted(zip(made["_at"].to_pylist(), made["_known_at"].to_pylist(), strict=True)) == [(1, 1), (3, 4), (5, 30)]
    again = ViewSpec("w", "u", lambda rows: rows, ("rows",), {"rows": "_at"})
    assert view_history(again, {"rows": ENGINE.frame(made)}, ENGINE, start=None, end=35).equals(made)
    online = [view_at(rows_spec(), given_, ENGINE, as_of=at)["n"].to_pylist() for at in (0, 3, 29, 30, 40)]
    assert online == [[], [10], [12], [11], [13]]


def test_a_view_of_rows_that_drops_what_is_needed_is_refused() -> None:
    given_ = frames([])
    with pytest.raises(GraphError, match="there is no column _known_at"):
        view_history(rows_spec(lambda rows: rows.select("u", "at")), given_, ENGINE, start=None, end=1)
    with pytest.raises(GraphError, match="without an event time"):
        view_history(rows_spec(lambda rows: rows.select("u", "_known_at")), given_, ENGINE, start=None, end=1)
    with pytest.raises(UnknownName, match="its entity"):
        view_history(rows_spec(lambda rows: rows.drop("u")), given_, ENGINE, start=None, end=1)
    claimed = view_history(rows_spec(lambda rows: rows.select("u", "at"), "event"), given_, ENGINE, start=None, end=1)
    assert claimed.column_names == ["u", "at", "_at", "_known_at"]
    with pytest.raises(GraphError, match="aggregates need both"):
        ViewSpec("v", "u", usual, ("rows",), {}, window_us=1)
