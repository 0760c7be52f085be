"""The point-in-time join: its laws, held against ten lines of plain Python."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import GraphError, RowsLost, TypeMismatch, UnknownName
from tidemill.features import PointInTimeJoin, point_in_time
from tidemill.features.point_in_time_join import rows_kept

_FACT = pa.schema(
    [
        ("u", pa.string()),
        ("_at", pa.int64()),
        ("_known_at", pa.int64()),
        ("_row", pa.int64()),
        ("a", pa.float64()),
        ("b", pa.string()),
    ]
)
_ASKED = pa.schema([("who", pa.string()), ("at", pa.int64()), ("id", pa.int64())])
_TIMES = st.none() | st.integers(0, 12)
_FACTS = st.lists(
    st.fixed_dictionaries(
        {
            "u": st.none() | st.sampled_from("xyz"),
            "_at": _TIMES,
            "_known_at": _TIMES,
            "_row": st.none() | st.integers(0, 2),
            "a": st.none() | st.integers(0, 2).map(float),
            "b": st.none() | st.sampled_from("pq"),
        }
    ),
    max_size=14,
)
_EXAMPLES = st.lists(
    st.fixed_dictionaries({"who": st.none() | st.sampled_from("xyzw"), "at": _TIMES, "id": st.integers(0, 9)}),
    max_size=8,
)
_TTL = st.none() | st.integers(0, 5)
_COLUMNS = {"a": "a", "b": "b", "stamp": "_at"}


def facts_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_FACT)


def asked_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_ASKED)


def by_hand(facts: list[dict[str, Any]], example: dict[str, Any], ttl: int | None) -> dict[str, Any]:
    """What counts for one example: the reference."""

    def rank(fact: dict[str, Any]) -> tuple[Any, ...]:
        rest = [(False,) if fact[name] is None else (True, fact[name]) for name in ("_row", "a", "b")]
        return (fact["_at"], fact["_known_at"], *rest)

    usable = [fact for fact in facts if None not in (fact["u"], fact["_at"], fact["_known_at"])]
    asked = None not in (example["who"], example["at"])
    seen = [f for f in usable if asked and f["u"] == example["who"] and max(f["_at"], f["_known_at"]) <= example["at"]]
    missing = {"a": None, "b": None, "stamp": None}
    if not seen:
        return {**missing, "view.status": "missing"}
    best = max(seen, key=rank)
    if ttl is not None and example["at"] - best["_at"] > ttl:
        return {**missing, "view.status": "expired"}
    return {"a": best["a"], "b": best["b"], "stamp": best["_at"], "view.status": "present"}


def joined(facts: list[dict[str, Any]], examples: list[dict[str, Any]], ttl: int | None = None) -> list[dict[str, Any]]:
    join = PointInTimeJoin(facts_of(facts), "u", "who", _COLUMNS, ttl_us=ttl)
    made: list[dict[str, Any]] = point_in_time(asked_of(examples), time="at", joins=[join], statuses=True).to_pylist()
    return made


@settings(max_examples=100)
@given(_FACTS, _EXAMPLES, _TTL)
def test_it_is_what_plain_python_finds(facts: Any, examples: Any, ttl: int | None) -> None:
    assert joined(facts, examples, ttl) == [{**example, **by_hand(facts, example, ttl)} for example in examples]


@given(_FACTS, _EXAMPLES, _FACTS, st.integers(0, 12))
def test_it_never_sees_the_future(facts: Any, examples: Any, later: Any, now: int) -> None:
    """Whatever happens, or becomes known, after an example's time changes nothing for it."""
    future = [
        fact
        for fact in later
        if fact["_at"] is not None and fact["_known_at"] is not None and max(fact["_at"], fact["_known_at"]) > now
    ]
    past = [example for example in examples if example["at"] is not None and example["at"] <= now]
    assert joined([*facts, *future], past) == joined(facts, past)


def test_that_law_catches_a_join_by_event_time() -> None:
    """A value of day 1 that was known on day 9 is seen on day 5 by whoever looks at event time alone."""
    fact = {"u": "x", "_at": 1, "_known_at": 9, "_row": 0, "a": 1.0, "b": "p"}
    example = {"who": "x", "at": 5, "id": 0}
    naive = PointInTimeJoin(facts_of([fact]), "u", "who", {"a": "a"}, known="event")
    assert point_in_time(asked_of([example]), time="at", joins=[naive])["a"].to_pylist() == [1.0]
    assert joined([fact], [example]) == joined([], [example])


@given(_FACTS, _EXAMPLES, _TTL, st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(facts: Any, examples: Any, ttl: int | None, chance: random.Random) -> None:
    mixed = facts.copy()
    chance.shuffle(mixed)
    assert joined(mixed, examples, ttl) == joined(facts, examples, ttl)


def test_times_may_lie_further_apart_than_a_key_has_bits() -> None:
    long = 1 << 62
    facts = [
        {"u": u, "_at": at, "_known_at": at, "_row": 0, "a": float(at > 0), "b": u} for u in "xyz" for at in (-long, 9)
    ]
    examples = [{"who": u, "at": at, "id": 0} for u in "xyzw" for at in (-long - 1, -long, 8, 9, long)]
    assert joined(facts, examples) == [{**example, **by_hand(facts, example, None)} for example in examples]


def test_of_one_instant_the_declared_one_counts() -> None:
    base = {"u": "x", "_at": 5, "_known_at": 7, "_row": 1, "a": 1.0, "b": "p"}
    later = {**base, "_known_at": 8, "_row": 0}
    example = [{"who": "x", "at": 7, "id": 0}, {"who": "x", "at": 8, "id": 1}]
    assert [row["stamp"] for row in joined([base, {**base, "_at": 4, "a": 9.0}], example)] == [5, 5]
    assert [row["a"] for row in joined([base, {**base, "_row": 2, "a": 0.0}], example)] == [0.0, 0.0]
    assert [row["a"] for row in joined([base, {**base, "a": None}], example)] == [1.0, 1.0]
    assert [row["a"] for row in joined([base, {**later, "a": 0.0}], example)] == [1.0, 0.0]


@pytest.mark.parametrize("kind", [pa.int64(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_entities_may_be_texts_or_whole_numbers(kind: pa.DataType) -> None:
    facts = pa.table({"u": pa.array(["1", "2"]).cast(kind), "_at": [1, 1], "_known_at": [1, 1], "n": [10, 20]})
    examples = pa.table(
        {"who": pa.array(["2", "1", "3"]).cast(kind), "at": pa.array([5, 5, 5], pa.timestamp("us", "UTC"))}
    )
    join = PointInTimeJoin(facts, "u", "who", {"n": "n"})
    assert point_in_time(examples, time="at", joins=[join])["n"].to_pylist() == [20, 10, None]
    wrong = pa.table({"who": pa.array([1.0, 2.0, 3.0]), "at": [5, 5, 5]})
    with pytest.raises(TypeMismatch, match="double"):
        point_in_time(wrong, time="at", joins=[join])


def test_of_aggregates_the_last_boundary_counts_as_it_does_online() -> None:
    rows = pa.table({"u": ["x", "x"], "n": [1, 2], "_at": [10, 50], "_until": [20, 60]})
    examples = pa.table({"who": ["x"] * 7, "at": [9, 10, 29, 30, 55, 70, 95]})
    join = PointInTimeJoin(rows, "u", "who", {"n": "n"}, ttl_us=30, every_us=10, last_at=60)
    made = point_in_time(examples, time="at", joins=[join], statuses=True)
    assert made["n"].to_pylist() == [None, 1, 1, None, 2, 2, None]
    status = ["missing", "present", "present", "missing", "present", "present", "expired"]
    assert made["view.status"].to_pylist() == status
    with pytest.raises(GraphError, match="the distance of their boundaries"):
        point_in_time(examples, time="at", joins=[PointInTimeJoin(rows, "u", "who", {"n": "n"})])


def test_rows_without_the_time_of_knowledge_are_refused_unless_claimed() -> None:
    rows = facts_of([]).drop_columns(["_known_at"])
    with pytest.raises(GraphError, match="_known_at"):
        PointInTimeJoin(rows, "u", "who", {"a": "a"})
    join = PointInTimeJoin(rows, "u", "who", {"a": "a"}, known="event")
    assert point_in_time(asked_of([{"who": "x", "at": 1, "id": 1}]), time="at", joins=[join])["a"].to_pylist() == [None]


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="'c'"):
        PointInTimeJoin(facts_of([]), "u", "who", {"c": "c"})
    with pytest.raises(UnknownName, match="'when'"):
        point_in_time(asked_of([]), time="when", joins=[])
    with pytest.raises(UnknownName, match="already"):
        point_in_time(asked_of([]), time="at", joins=[PointInTimeJoin(facts_of([]), "u", "who", {"id": "a"})])


def test_a_join_that_loses_rows_is_refused() -> None:
    with pytest.raises(RowsLost, match="1 rows for 2"):
        rows_kept(pa.table({"a": [1, 2]}), pa.table({"a": [1]}))
