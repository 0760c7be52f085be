"""Deduplication of arriving rows by key: each row is new, a repeat, or conflicting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tidemill.core.contract.contract import ROW, SYSTEM_COLUMNS
from tidemill.lake.row_equality import Codes, Mask, row_codes


@dataclass(frozen=True)
class MergeResult:
    """The result for one batch of rows. Every row is counted once: repeated + contradicted + merged = rows."""

    rows: pa.Table
    #: The rows to add, bool (n_rows,).
    wins: Mask
    #: The existing rows to remove, bool (n_known,).
    replaced: Mask
    #: Number of rows whose key occurred before with the same values, and with other values.
    repeated: int
    contradicted: int
    #: Number of new keys, which is the growth of the table.
    merged: int

    @property
    def added(self) -> pa.Table:
        """The rows to add, in the order of arrival."""
        return winning_rows(self.rows, self.wins)


def winning_rows(rows: pa.Table, wins: Mask) -> pa.Table:
    """The selected rows, without a copy if all are selected."""
    return rows if wins.all() else rows.filter(pa.array(wins))


def merge_rows(known: pa.Table, rows: pa.Table, key: Sequence[str]) -> MergeResult:
    """Merge `rows` with the existing rows of the table that have the same keys (`known`, at most one per key).

    Of rows with one key and different values, the one with the largest `_row` wins. Of equal rows, an existing row or
    else the first one stays, so that repeats change nothing. The counts do not depend on how a day is split in batches.
    """
    rows = rows if ROW in rows.column_names else rows.append_column(ROW, pa.array(np.arange(rows.num_rows)))
    both = pa.concat_tables([known.select(rows.column_names), rows])
    keys = row_codes(both, list(key))
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]  # one per pair of neighbours with the same key
    duplicate = _occur(keys, again) if len(again) else np.zeros(len(keys), np.bool_)
    many, winners, different = np.flatnonzero(duplicate), ~duplicate, 0
    if len(many):
        values = [name for name in rows.column_names if name not in SYSTEM_COLUMNS and name not in key]
        candidates = both.filter(pa.array(duplicate))  # `take` would first concatenate the chunks of every column
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
    """Which values occur in `among`, which must be sorted; `isin` would sort both."""
    found: Mask = among[np.minimum(np.searchsorted(among, values), len(among) - 1)] == values
    return found


def _winners(rows: pa.Table, keys: Codes, known: Mask, values: Sequence[str]) -> tuple[Codes, int]:
    """Positions of the winning rows, one per key, and the number of neighbours (in `_row` order) with other values."""
    order = np.lexsort((~known, rows[ROW].to_numpy(), keys))
    sorted_keys, codes = keys[order], row_codes(rows, values)[order]
    starts = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
    turns = np.r_[True, codes[1:] != codes[:-1]]
    run = np.cumsum(starts | turns)
    ends = np.r_[starts[1:], True]
    last_run = run[np.flatnonzero(ends)]
    # From each key's last run of equal values, choose the existing row if there is one, else the first.
    inside = np.flatnonzero(np.isin(run, last_run))
    by_choice = inside[np.lexsort((inside, ~known[order][inside], run[inside]))]
    first = np.r_[True, run[by_choice][1:] != run[by_choice][:-1]]
    return order[by_choice[first]], int(np.sum(turns & ~starts))
