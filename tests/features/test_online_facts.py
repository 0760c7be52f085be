"""Facts aligned to a catalogue: after anything that happens to the store they are what reading all anew would give."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.core.errors import UnknownName
from tidemill.features import ItemFacts

_DAY = 86_400_000_000
_FACTS = pa.schema([("k", pa.string()), ("category", pa.string()), ("stock", pa.bool_()), ("price", pa.float64())])
_COUNTED = pa.schema(
    [("k", pa.string()), ("n_all", pa.int64()), ("days", pa.list_(pa.int32())), ("counts", pa.list_(pa.int32()))]
)


def _facts(latest: LmdbLatest, items: list[str], as_of: int = 100 * _DAY, kind: type[ItemFacts] = ItemFacts) -> Any:
    views = {"facts": ["category", "stock", "price"]}
    return kind(latest, items, views=views, counted="m.items", as_of=lambda: as_of)


def _write(latest: LmdbLatest, rows: dict[str, dict[str, Any]], schema: pa.Schema, view: str, **more: Any) -> None:
    table = pa.Table.from_pylist([{"k": key, **row} for key, row in rows.items()], schema=schema)
    latest.write(view, "k", table, "version", **more)


def test_columns_are_aligned_and_say_what_is_missing(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    rows = {
        "b": {"category": "x", "stock": False, "price": 2.0},
        "new": {"category": "z", "stock": True, "price": 3.0},
        "a": {"category": None, "stock": None, "price": None},
    }
    _write(latest, rows, _FACTS, "facts")
    facts = _facts(latest, ["c", "b", "a"])
    assert facts.items == ["c", "b", "a", "new"]
    category, there = facts.column("facts", "category")
    assert there.tolist() == [False, True, False, True]
    assert category[there].tolist() == ["x", "z"]
    stock, there = facts.column("facts", "stock")
    assert (stock.dtype, there.tolist()) == (np.dtype(bool), [False, True, False, True])
    assert facts.column("facts", "price")[0].dtype == np.float64


def test_counts_are_of_the_days_before_the_as_of(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    rows = {
        "a": {"n_all": 50, "days": [92, 93, 99], "counts": [1, 2, 4]},
        "b": {"n_all": 7, "days": [100], "counts": [7]},
    }
    _write(latest, rows, _COUNTED, "m.items")
    at_midnight, in_the_morning = _facts(latest, ["a", "c"], 100 * _DAY), _facts(latest, ["a", "c"], 100 * _DAY + 1)
    assert at_midnight.counts(1).tolist() == [4, 0, 0], "day 100 has not begun"
    assert at_midnight.counts(7).tolist() == [6, 0, 0], "day 93 is the seventh day before"
    assert at_midnight.counts(8).tolist() == [7, 0, 0]
    assert in_the_morning.counts(1).tolist() == [0, 0, 7], "today, as far as it went"
    assert in_the_morning.counts(7).tolist() == [4, 0, 7]
    assert at_midnight.counts(None).tolist() == [50, 0, 7]


def test_a_wrong_window_would_show(tmp_path: Path) -> None:
    """Both ends included, as a careless filter has it: the event of the eighth day counts twice over two windows."""
    latest = LmdbLatest(tmp_path)
    days = list(range(80, 100))
    _write(latest, {"a": {"n_all": 20, "days": days, "counts": [1] * 20}}, _COUNTED, "m.items")
    facts = _facts(latest, ["a"])
    both_ends = [day for day in days if 100 - 7 - 1 <= day <= 100 - 1]
    assert (facts.counts(7)[0], len(both_ends)) == (7, 8)


def test_the_day_moves_the_windows_and_the_version(tmp_path: Path) -> None:
    latest, now = LmdbLatest(tmp_path), [100 * _DAY]
    _write(latest, {"a": {"n_all": 1, "days": [99], "counts": [1]}}, _COUNTED, "m.items")
    facts = ItemFacts(latest, ["a"], views={}, counted="m.items", as_of=lambda: now[0])
    before = facts.version
    assert (facts.counts(1).tolist(), facts.refresh(), facts.version) == ([1], False, before)
    now[0] += _DAY
    assert facts.refresh()
    assert (facts.counts(1).tolist(), facts.version != before) == ([0], True)


def test_arrays_that_an_answer_holds_do_not_change_under_it(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest, {"a": {"category": "x", "stock": True, "price": 1.0}}, _FACTS, "facts")
    facts = _facts(latest, ["a"])
    held, there = facts.column("facts", "stock")
    latest.put("facts", "a", {"stock": False}, at=1)
    assert facts.refresh()
    assert (held.tolist(), there.tolist()) == ([True], [True])
    assert facts.column("facts", "stock")[0].tolist() == [False]


def test_a_fact_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"did you mean `facts\.category`"):
        _facts(LmdbLatest(tmp_path), ["a"]).column("facts", "categories")


_KEYS = st.sampled_from(["a", "b", "c", "new", "newer"])
_FACT = st.fixed_dictionaries(
    {
        "category": st.none() | st.sampled_from("xy"),
        "stock": st.none() | st.booleans(),
        "price": st.none() | st.integers(0, 3).map(float),
    }
)
_COUNT = st.dictionaries(st.integers(90, 101), st.integers(1, 3), max_size=3).map(
    lambda days: {"n_all": sum(days.values()) + 1, "days": list(days), "counts": list(days.values())}
)


def _machine(kind: type[ItemFacts]) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
            self.latest = LmdbLatest(Path(self.folder.name))
            self.now = 100 * _DAY
            self.facts = self._new(kind)

        def teardown(self) -> None:
            self.folder.cleanup()

        def _new(self, kind: type[ItemFacts]) -> ItemFacts:
            views = {"facts": ["category", "stock", "price"]}
            return kind(self.latest, ["c", "a", "b"], views=views, counted="m.items", as_of=lambda: self.now)

        @rule(rows=st.dictionaries(_KEYS, _FACT), covers=st.none() | st.just(5))
        def write_facts(self, rows: dict[str, Any], covers: int | None) -> None:
            _write(self.latest, rows, _FACTS, "facts", covers=covers)

        @rule(rows=st.dictionaries(_KEYS, _COUNT), covers=st.none() | st.just(5))
        def write_counts(self, rows: dict[str, Any], covers: int | None) -> None:
            _write(self.latest, rows, _COUNTED, "m.items", covers=covers)

        @rule(key=_KEYS, row=_FACT, at=st.integers(0, 9))
        def put_fact(self, key: str, row: dict[str, Any], at: int) -> None:
            self.latest.put("facts", key, row, at)

        @rule(key=_KEYS, row=_COUNT, at=st.integers(0, 9))
        def put_count(self, key: str, row: dict[str, Any], at: int) -> None:
            self.latest.put("m.items", key, row, at)

        @rule(view=st.sampled_from(["facts", "m.items"]), covers=st.integers(0, 10))
        def settle(self, view: str, covers: int) -> None:
            self.latest.drop_covered(view, covers)

        @rule(by=st.sampled_from([1, _DAY // 2, _DAY]))
        def time_goes_on(self, by: int) -> None:
            self.now += by

        @invariant()
        def as_if_read_anew(self) -> None:
            before = (self.facts.version, self._all(self.facts))
            moved = self.facts.refresh()
            after = self._all(self.facts)
            items, *rest = self._all(self._new(ItemFacts))
            shared = [item for item in self.facts.items if item in items]
            assert shared == items, "every item of the store is in the catalogue"
            at = [list(self.facts.items).index(item) for item in items]
            assert [[column[place] for place in at] for column in after[1:]] == rest
            assert moved == (self.facts.version != before[0])
            assert moved or before[1] == after, "facts changed and their version did not"

        def _all(self, facts: ItemFacts) -> list[list[Any]]:
            found: list[list[Any]] = [list(facts.items)]
            for name in ("category", "stock", "price"):
                values, there = facts.column("facts", name)
                found.append([value if is_there else None for value, is_there in zip(values, there, strict=True)])
            return [*found, *(facts.counts(days).tolist() for days in (1, 7, None))]

    return Machine


_LAWS = settings(max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))


def test_they_are_what_reading_anew_gives() -> None:
    run_state_machine_as_test(_machine(ItemFacts), settings=_LAWS)  # type: ignore[no-untyped-call]


class _SeesSnapshotsOnly(ItemFacts):
    """Looks at versions: a fresh row changes none."""

    def refresh(self) -> bool:
        versions = str([self._latest.version(view) for view in self._read])
        if versions == getattr(self, "_versions", ""):
            return False
        self._versions = versions
        return super().refresh()


class _KeepsTheDay(ItemFacts):
    def refresh(self) -> bool:
        day = self._day
        super().refresh()
        if day >= 0:
            self._day = day
        return False


class _CountsTwice(ItemFacts):
    """Adds the new counts of an item beside the old ones."""

    def _take_in(self, moved: Any) -> None:
        old = self._daily
        super()._take_in(moved)
        if all(keys is not None for keys in moved.values()) and len(old.totals) == len(self._daily.totals):
            self._daily = type(old)(
                self._daily.totals,
                np.r_[old._item, self._daily._item],
                np.r_[old._day, self._daily._day],
                np.r_[old._count, self._daily._count],
            )


@pytest.mark.parametrize("wrong", [_SeesSnapshotsOnly, _KeepsTheDay, _CountsTwice])
def test_that_law_catches(wrong: type[ItemFacts]) -> None:
    laws = settings(_LAWS, max_examples=300, derandomize=True, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(_machine(wrong), settings=laws)  # type: ignore[no-untyped-call]
