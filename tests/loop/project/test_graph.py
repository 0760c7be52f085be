"""The graph from signatures: what does not fit is refused before anything runs, with the nearest name."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import pytest

import tidemill as tm
from tidemill.backends.polars import PolarsEngine
from tidemill.core.errors import GraphCycle, GraphError, TypeMismatch, UnknownName
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.project import load_mill


class Click(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    value: float = 1.0
    at: datetime = tm.event_time(zone="UTC")


def mill() -> tuple[Mill, Any]:
    made = Mill("clicks")
    return made, made.stream("clicks", Click, key=("user_id", "item_id", "at"))


def graph(made: Mill) -> ProjectGraph:
    return ProjectGraph(made, PolarsEngine(), Path(__file__).parent.parent)


def test_columns_and_types_are_known_before_a_row_moves() -> None:
    made, _ = mill()

    @made.table(by="user_id")
    def per_user(clicks: Any) -> Any:
        return clicks.group_by("user_id").agg(n=nw.len(), total=nw.col("value").sum())

    schema = graph(made).schemas["per_user"]
    assert schema.names == ["user_id", "n", "total"]
    assert str(schema.field("total").type) == "double"
    assert graph(made).personal("per_user") == ["user_id"]


def test_a_parameter_that_nothing_makes_is_refused_with_the_nearest_name() -> None:
    made, _ = mill()

    @made.table()
    def per_user(click: Any) -> Any:
        return click

    with pytest.raises(UnknownName, match="did you mean `clicks`"):
        graph(made)


def test_a_column_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    made, _ = mill()

    @made.table()
    def per_user(clicks: Any) -> Any:
        return clicks.select("user_ids")

    with pytest.raises(UnknownName, match="did you mean `user_id`"):
        graph(made)


def test_a_ring_is_drawn() -> None:
    made, _ = mill()

    @made.table()
    def a(b: Any) -> Any:
        return b

    @made.table()
    def b(a: Any) -> Any:
        return a

    with pytest.raises(GraphCycle, match="a → b → a"):
        graph(made)


def test_a_type_that_does_not_fit_is_refused() -> None:
    made, clicks = mill()
    made.check(clicks, tm.between("item_id", 1, 5))
    with pytest.raises(TypeMismatch, match="item_id"):
        graph(made)


def test_a_promise_of_touched_keys_needs_the_key_in_every_input() -> None:
    made, _ = mill()

    @made.table()
    def totals(clicks: Any) -> Any:
        return clicks.group_by("item_id").agg(n=nw.len())

    @made.table(by="user_id")
    def joined(clicks: Any, totals: Any) -> Any:
        return clicks.join(totals, on="item_id", how="left")

    with pytest.raises(TypeMismatch, match="'totals' has no column 'user_id'"):
        graph(made)


def test_a_function_that_returns_no_frame_is_refused() -> None:
    made, _ = mill()

    @made.table()
    def wrong(clicks: Any) -> Any:
        return 3

    with pytest.raises(TypeMismatch, match="returns a int"):
        graph(made)


def test_a_key_column_that_is_not_in_the_contract_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean `item_id`"):
        Mill("x").stream("clicks", Click, key="item")


def test_a_name_is_used_once() -> None:
    made, _ = mill()
    with pytest.raises(GraphError, match="used twice"):
        made.stream("clicks", Click, key="item_id")


def test_the_order_is_that_of_the_signatures_not_of_the_file() -> None:
    made, _ = mill()

    @made.table()
    def last(middle: Any) -> Any:
        return middle

    @made.table()
    def middle(clicks: Any) -> Any:
        return clicks

    assert [table.name for table in graph(made).order] == ["middle", "last"]
    assert [table.name for table in graph(made).downstream(["clicks"])] == ["middle", "last"]


def test_a_mill_that_was_changed_within_a_second_is_loaded_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for name in ("one", "two"):
        (tmp_path / "mill.py").write_text(f'import tidemill as tm\n\nmill = tm.Mill("{name}")\n')
        os.utime(tmp_path / "mill.py", (1_700_000_000, 1_700_000_000))
        assert load_mill(tmp_path).name == name
