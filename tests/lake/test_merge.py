"""New, repeated or contradicting: each arriving row is exactly one of them, however its day is cut."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.lake.deduplicate import MergeResult, merge_rows

SCHEMA = pa.schema([("who", pa.string()), ("what", pa.int64()), ("stars", pa.float64()), ("_row", pa.int64())])
KEY = ("who", "what")

#: Rows in order of arrival; few keys and values, so that they meet.
arriving = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.sampled_from([1.0, 2.0, None, float("nan")])), max_size=12
)


def table(rows: list[tuple[str, int, float | None]], first_row: int = 0) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"who": who, "what": what, "stars": stars, "_row": first_row + i}
            for i, (who, what, stars) in enumerate(rows)
        ],
        schema=SCHEMA,
    )


def naive(known: dict, rows: pa.Table) -> tuple[dict, tuple[int, int, int]]:
    """Row by row in `_row` order, as one would by hand."""
    kept, repeated, contradicted, merged = dict(known), 0, 0, 0
    for row in sorted(rows.to_pylist(), key=lambda row: row["_row"]):
        key, value = (row["who"], row["what"]), repr(row["stars"])
        if key not in kept:
            merged += 1
        elif kept[key][0] == value:
            repeated += 1
            continue
        else:
            contradicted += 1
        kept[key] = (value, row["_row"])
    return kept, (repeated, contradicted, merged)


def applied(known: pa.Table, settled: MergeResult) -> pa.Table:
    return pa.concat_tables([known.filter(pa.array(~settled.replaced)), settled.added])


def as_dict(rows: pa.Table) -> dict:
    found = {(row["who"], row["what"]): (repr(row["stars"]), row["_row"]) for row in rows.to_pylist()}
    assert len(found) == rows.num_rows, "a key stands twice in the table"
    return found


def law(rows: list, cut: int, decide=merge_rows) -> None:
    """In one increment or in two: the table and the counts of the naive way, and every row counted once."""
    counted, kept = np.zeros(3, int), SCHEMA.empty_table()
    whole = table(rows)
    for part in (whole.slice(0, cut), whole.slice(cut)):
        keys = set(zip(part["who"].to_pylist(), part["what"].to_pylist(), strict=True))
        on = [key in keys for key in zip(kept["who"].to_pylist(), kept["what"].to_pylist(), strict=True)]
        known = kept.filter(pa.array(on, pa.bool_()))
        settled = decide(known, part, KEY)
        assert settled.repeated + settled.contradicted + settled.merged == part.num_rows
        assert settled.merged == settled.added.num_rows - int(settled.replaced.sum())
        counted += [settled.repeated, settled.contradicted, settled.merged]
        kept = pa.concat_tables([kept.filter(pa.array([not one for one in on], pa.bool_())), applied(known, settled)])
    expected, counts = naive({}, whole)
    assert as_dict(kept) == expected
    assert tuple(counted) == counts


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arriving, st.integers(0, 12))
def test_what_a_row_counts_as_does_not_depend_on_the_cut(rows: list, cut: int) -> None:
    law(rows, min(cut, len(rows)))


CUTS = [([("a", 1, 1.0), ("a", 1, 2.0), ("a", 1, 1.0)], 1), ([("a", 1, 1.0), ("a", 1, 1.0)], 1)]


def _last_wins_always(known: pa.Table, rows: pa.Table, key) -> MergeResult:
    """Wrong: an equal row replaces the one that is there, so that a day that comes twice changes the table."""
    right = merge_rows(known, rows, key)
    newest = {(row["who"], row["what"]): row for row in rows.to_pylist()}
    wins = np.array([newest[(row["who"], row["what"])] == row for row in rows.to_pylist()], bool)
    gone = [(row["who"], row["what"]) in newest for row in known.to_pylist()]
    return MergeResult(rows, wins, np.array(gone, bool), right.repeated, right.contradicted, right.merged)


def _counts_by_final_value(known: pa.Table, rows: pa.Table, key) -> MergeResult:
    """Wrong: a row that is later overruled counts as contradicting, one that agrees with the end as repeated."""
    right = merge_rows(known, rows, key)
    if right.contradicted > 1:
        counts = (right.repeated + 1, right.contradicted - 1, right.merged)
        return MergeResult(right.rows, right.wins, right.replaced, *counts)
    return right


@pytest.mark.parametrize("wrong", [_last_wins_always, _counts_by_final_value])
def test_the_law_catches_wrong_variants(wrong) -> None:
    with pytest.raises(AssertionError):
        for rows, cut in [*CUTS, (CUTS[0][0], 0)]:
            law(rows, cut, wrong)


def test_of_two_contradicting_rows_the_larger_row_number_stays_whichever_came_first() -> None:
    known = table([("a", 1, 5.0)], first_row=100)
    settled = merge_rows(known, table([("a", 1, 3.0)], first_row=7), KEY)
    assert (settled.added.num_rows, settled.replaced.tolist(), settled.contradicted) == (0, [False], 1)


def test_an_equal_row_with_a_smaller_number_leaves_the_known_one_alone() -> None:
    known = table([("a", 1, 5.0)], first_row=100)
    settled = merge_rows(known, table([("a", 1, 5.0)], first_row=7), KEY)
    assert (settled.added.num_rows, settled.replaced.tolist(), settled.repeated) == (0, [False], 1)


def test_no_rows_are_nothing() -> None:
    settled = merge_rows(SCHEMA.empty_table(), SCHEMA.empty_table(), KEY)
    assert (settled.added.num_rows, settled.repeated, settled.contradicted, settled.merged) == (0, 0, 0, 0)


def test_the_lakes_own_columns_make_no_difference() -> None:
    known = table([("a", 1, 5.0)]).append_column("_increment", pa.array([1]))
    again = table([("a", 1, 5.0)], first_row=9).append_column("_increment", pa.array([2]))
    assert merge_rows(known, again, KEY).repeated == 1
