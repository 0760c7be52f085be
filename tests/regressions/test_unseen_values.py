"""The values of the training rows that a bundle keeps, to name those of a request that are unlike them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidemill.core.errors import BundleCorrupt
from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.input_ranges import RANGES, InputRange, InputRanges, read_input_ranges, write_input_ranges
from tidemill.training.tabular.rows.training_ranges import training_ranges

N = 400


def examples(columns: Mapping[str, Sequence[Any] | pa.Array], **roles: Any) -> Examples:
    table = pa.table(dict(columns))
    kinds: dict[pa.DataType, Kind] = {pa.string(): "str", pa.int64(): "int", pa.float64(): "float", pa.bool_(): "bool"}
    fields = tuple(
        InputField(name=one.name, kind=kinds.get(one.type, "time"), role=roles.get(one.name)) for one in table.schema
    )
    target = np.arange(table.num_rows) % 2
    return Examples(
        inputs=table, fields=fields, target=target.astype(np.float64), task="binary", classes=("no", "yes"),
        time=np.arange(table.num_rows) * 86_400_000_000,
    )  # fmt: skip


def ranges(columns: Mapping[str, Sequence[Any] | pa.Array], **roles: Any) -> dict[str, InputRange]:
    return {one.name: one for one in training_ranges(examples(columns, **roles)).inputs}


def test_a_number_that_enough_rows_have_ends_its_range() -> None:
    found = ranges({"months": [n % 36 for n in range(N)]})["months"]
    assert (found.low, found.high, found.outside, found.missing) == (0, 35, 0, False)


def test_no_value_of_fewer_than_ten_rows_is_kept(tmp_path: Path) -> None:
    pay = np.random.default_rng(0).normal(3_000, 500, N)
    pay[:3] = 987_654.0  # those of three persons
    plan = ["Ms Rare"] * 9 + ["gold", "silver"] * 195
    made = training_ranges(examples({"pay": pay[: len(plan)], "plan": plan}))
    found = {one.name: one for one in made.inputs}
    assert found["plan"].texts == ("gold", "silver") and found["plan"].outside == pytest.approx(9 / len(plan))
    assert found["pay"].high is not None and np.sort(pay)[-10] < found["pay"].high < 10_000
    assert 3 / len(plan) <= found["pay"].outside < 0.02
    write_input_ranges(made, tmp_path)
    assert "Rare" not in (tmp_path / RANGES).read_text() and "987654" not in (tmp_path / RANGES).read_text()


def test_few_rows_like_the_training_rows_are_unseen() -> None:
    rng = np.random.default_rng(1)
    names = [f"x{place}" for place in range(20)]
    draw = [rng.normal, rng.uniform, rng.exponential, rng.gumbel]
    made = training_ranges(examples({name: draw[place % 4](size=2_000) for place, name in enumerate(names)}))
    unseen = made.unseen_in(names)
    later = np.column_stack([draw[place % 4](size=2_000) for place in range(20)])
    assert np.mean([bool(unseen(row)) for row in later.tolist()]) < 0.05
    assert unseen([1_000.0] * 20) == tuple(names)


def test_what_is_different_in_each_row_has_no_range() -> None:
    days = pa.array(np.arange(N) * 86_400_000_000, pa.timestamp("us", "UTC"))
    columns = {"id": [f"C{n}" for n in range(N)], "row": range(N), "joined": days, "who": ["a", "b"] * (N // 2)}
    assert not ranges(columns, who="subject")


def test_a_missing_value_is_unseen_where_no_training_row_lacks_one() -> None:
    found = ranges({"age": [n % 7 for n in range(N)], "plan": [None, "a"] * (N // 2), "paid": [True, False] * (N // 2)})
    made = InputRanges(inputs=tuple(found.values()))
    unseen = made.unseen_in(["plan", "paid", "age"])
    assert unseen([None, None, None]) == ("paid", "age")
    assert unseen(["a", True, float("nan")]) == ("age",)


def test_a_column_that_is_missing_in_most_rows_has_no_range() -> None:
    found = ranges({"age": pa.array([1.5, 2.5, *[None] * (N - 2)], pa.float64())})["age"]
    assert (found.low, found.high, found.missing) == (None, None, True)


def test_a_damaged_file_of_ranges_is_named(tmp_path: Path) -> None:
    assert read_input_ranges(tmp_path) == InputRanges()
    (tmp_path / RANGES).write_text("{")
    with pytest.raises(BundleCorrupt, match=RANGES):
        read_input_ranges(tmp_path)
