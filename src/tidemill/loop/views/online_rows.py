"""The rows of a feature view that answers look up, and what their columns look like; mill.py is not needed for it."""

from __future__ import annotations

import pyarrow as pa

from tidemill.core.ports import Latest
from tidemill.features.column_figures import ColumnFigures, column_figures
from tidemill.features.stretches import AT
from tidemill.loop.views.feature_files import DeclaredView


def online_rows(latest: Latest, view: DeclaredView) -> pa.Table:
    """One row per entity with the declared columns and `_at`; without any column where the view was never made."""
    keys = latest.keys(view.name)
    if not keys:
        return pa.table({})
    there = latest.get(view.name, keys[0]) or {}  # what a run of earlier code left may have other columns
    names = [name for name in (*view.columns, AT) if name in there]
    return latest.take(view.name, keys, names)[0]


def online_figures(rows: pa.Table, view: DeclaredView) -> tuple[ColumnFigures, ...]:
    """The figures of the columns that a person declared, as far as they are there; types where there is no row."""
    if not rows.num_columns:
        return tuple(ColumnFigures(name=name, type=kind, missing=0.0) for name, kind in view.columns.items())
    names = [name for name in view.columns if name in rows.column_names]
    return tuple(column_figures(rows, names, personal={*view.hidden}))
