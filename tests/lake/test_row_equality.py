"""Rows as numbers, and rows held against columns."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.errors import SchemaChanged
from tidemill.lake.row_equality import conform_schema, family, matching_rows, row_codes

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.float64()), ("c", pa.list_(pa.int64()))])
one_row = st.tuples(
    st.sampled_from(["x", "y", "", None]),
    st.sampled_from([1.0, 2.0, float("nan"), None]),
    st.sampled_from([[], [1], None]),
)
some = st.lists(one_row, max_size=10)


def table(rows: list) -> pa.Table:
    return pa.Table.from_pylist([dict(zip("abc", row, strict=True)) for row in rows], schema=SCHEMA)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some)
def test_two_rows_have_one_code_exactly_where_they_are_equal(rows: list) -> None:
    found = row_codes(table(rows), ["a", "b", "c"]).tolist()
    texts = [repr(row) for row in rows]
    assert [[x == y for y in found] for x in found] == [[x == y for y in texts] for x in texts]


def test_many_wide_columns_do_not_run_over() -> None:
    n = 3_000
    rows = pa.table({f"c{i}": pa.array([str((j * (i + 1)) % n) for j in range(n)]) for i in range(8)})
    assert len(set(row_codes(rows, rows.column_names).tolist())) == n


def test_chunks_share_their_codes() -> None:
    column = pa.chunked_array([["x", "y"], ["y", "z", "x"], []], pa.string())
    found = row_codes(pa.table({"a": column}), ["a"]).tolist()
    assert [found.index(code) for code in found] == [0, 1, 1, 3, 0]


def same_change(old: list, new: list, pair=matching_rows) -> None:
    """Rows that stay, plus rows that come, are the new rows; each one counted as often as it occurs."""
    stays, known = pair(table(old), table(new), SCHEMA.names)
    kept = Counter(repr(row) for row, on in zip(old, stays, strict=True) if on)
    came = Counter(repr(row) for row, on in zip(new, known, strict=True) if not on)
    assert kept + came == Counter(map(repr, new))
    assert sum(kept.values()) == sum((Counter(map(repr, old)) & Counter(map(repr, new))).values())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some, some)
def test_a_change_is_the_smallest_that_leads_from_old_to_new(old: list, new: list) -> None:
    same_change(old, new)


def test_the_law_catches_a_pairing_that_forgets_how_often() -> None:
    def wrong(old, new, columns):
        left, right = row_codes(old, columns).tolist(), row_codes(new, columns).tolist()
        return [one in right for one in left], [one in left for one in right]

    with pytest.raises(AssertionError):
        same_change([("x", 1.0, None)], [("x", 1.0, None)] * 2, wrong)


def test_columns_are_brought_into_the_tables_order_and_width() -> None:
    rows = pa.table({"b": pa.array([1.0], pa.float32()), "c": [[1]], "a": pa.array(["x"], pa.large_string())})
    assert conform_schema(rows, SCHEMA, "t").schema.equals(SCHEMA)


def test_nothing_but_missing_values_fits_everywhere() -> None:
    rows = pa.table({"a": pa.nulls(1), "b": pa.nulls(1), "c": pa.nulls(1)})
    assert conform_schema(rows, SCHEMA, "t").to_pylist() == [{"a": None, "b": None, "c": None}]


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("b", pa.array(["1.5"]), "`b` as string"),
        ("a", pa.array([1]), "`a` as int64"),
        ("c", pa.array([["1"]]), "`c` as list"),
    ],
)
def test_text_never_becomes_a_number_nor_a_number_text(column: str, value: pa.Array, says: str) -> None:
    rows = table([("x", 1.0, [1])])
    with pytest.raises(SchemaChanged, match=says):
        conform_schema(rows.set_column(rows.column_names.index(column), column, value), SCHEMA, "t")


def test_a_renamed_column_is_named_with_its_nearest() -> None:
    with pytest.raises(SchemaChanged, match="lack the column `b`"):
        conform_schema(table([("x", 1.0, [1])]).rename_columns(["a", "bb", "c"]), SCHEMA, "t")


def test_families() -> None:
    assert family(pa.timestamp("us")) != family(pa.timestamp("us", "UTC"))
    assert family(pa.dictionary(pa.int8(), pa.large_string())) == family(pa.string_view()) == "text"
    assert family(pa.struct([("x", pa.int8())])) == family(pa.struct([("x", pa.int64())]))
