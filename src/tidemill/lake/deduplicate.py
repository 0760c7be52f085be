"""Deduplication of arriving rows by key: each is new, a repeat, or conflicting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tidemill.core.contract.contract import ROW, SYSTEM_COLUMNS
from tidemill.lake.row_equality import Codes, Mask, row_codes


@dataclass(frozen=True)
class MergeResult:
    """The outcome for one batch of rows. Every row is counted once: repeated + contradicted + merged = rows."""

    rows: pa.Table
    #: Which of the rows are added, bool (n_rows,).
    wins: Mask
    #: Which of the known rows give way, bool (n_known,).
    replaced: Mask
    #: Rows whose key occurred before with the same values, or with others.
    repeated: int
    contradicted: int
    #: Keys that are new to the table, and so by how many rows it grows.
    merged: int

    @property
    def added(self) -> pa.Table:
        """The rows that are added, in the order of arrival."""
        return winning_rows(self.rows, self.wins)


def winning_rows(rows: pa.Table, wins: Mask) -> pa.Table:
    """The rows that win; where all do, the rows themselves."""
    return rows if wins.all() else rows.filter(pa.array(wins))


def merge_rows(known: pa.Table, rows: pa.Table, key: Sequence[str]) -> MergeResult:
    """Lay `rows` beside the rows of the table that have their keys (`known`, at most one per key).

    Of different values for one key the largest `_row` wins; of equal ones the first stays, and a known one before all,
    so that rows that came before change nothing. What a day's rows count as does not depend on where the day was cut.
    """
    rows = rows if ROW in rows.column_names else rows.append_column(ROW, pa.array(np.arange(rows.num_rows)))
    both = pa.concat_tables([known.select(rows.column_names), rows])
    keys = row_codes(both, list(key))
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]  # one for each pair of neighbours with one key
    doubtful = _occur(keys, again) if len(again) else np.zeros(len(keys), np.bool_)
    many, winners, different = np.flatnonzero(doubtful), ~doubtful, 0
    if len(many):
        values = [name for name in rows.column_names if name not in SYSTEM_COLUMNS and name not in key]
        candidates = both.filter(pa.array(doubtful))  # `take` would first make one piece of every column
        best, different = _winners(candidates, keys[many], many < known.num_rows, values)
        winners[many[best]] = True
    return MergeResult(
        rows=rows,
        wins=winners[known.num_rows :],
        replaced=~winners[: known.num_rows],
        repeated=len(again) - different,
        contradicted=different,
        merged=both.num_rows - len(again) - known.num_rows,
    )


def _occur(values: Codes, among: Codes) -> Mask:
    """Which of the values occur in `among`, which is sorted; `isin` would sort both together."""
    found: Mask = among[np.minimum(np.searchsorted(among, values), len(among) - 1)] == values
    return found


def _winners(rows: pa.Table, keys: Codes, known: Mask, values: Sequence[str]) -> tuple[Codes, int]:
    """Positions of the rows that win, one per key, and how many neighbours (in `_row` order) differ in their values."""
    order = np.lexsort((~known, rows[ROW].to_numpy(), keys))
    held, said = keys[order], row_codes(rows, values)[order]
    starts = np.r_[True, held[1:] != held[:-1]]
    turns = np.r_[True, said[1:] != said[:-1]]
    run = np.cumsum(starts | turns)
    ends = np.r_[starts[1:], True]
    last_run = run[np.flatnonzero(ends)]
    # Of each key's last run of equal values: the known row if there is one, else the first.
    inside = np.flatnonzero(np.isin(run, last_run))
    by_choice = inside[np.lexsort((inside, ~known[order][inside], run[inside]))]
    first = np.r_[True, run[by_choice][1:] != run[by_choice][:-1]]
    return order[by_choice[first]], int(np.sum(turns & ~starts))
