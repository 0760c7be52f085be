"""Column roles of a table for a learner: the type of each input, and the reason for each one left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.kinds import Kind
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.models.tabular.design_matrix import inputs_of, numbers
from tidemill.models.tabular.examples import Examples

#: A text with this share of distinct values among at least this many rows is an ID: it does not generalise.
_NAMES_ROWS, _AT_LEAST = 0.95, 50
#: A time this closely correlated with the row's time is always outside the training range in serving.
_TIED = 0.99


@dataclass(frozen=True)
class TableColumn:
    """One input to train on. `levels`: the texts with enough rows that nobody is recognised, most frequent first."""

    name: str
    kind: Kind
    n_missing: int
    levels: tuple[str, ...] = ()
    #: Rows with another text. In training and in serving these texts count as unseen.
    n_rare: int = 0
    #: Whether the value itself is used; of a time that rises with the rows only its parts are.
    plain: bool = True


@dataclass(frozen=True)
class TableColumns:
    """The inputs to train on, and a sentence for each that is left out."""

    kept: tuple[TableColumn, ...]
    notes: tuple[str, ...]

    @property
    def texts(self) -> tuple[TableColumn, ...]:
        """The categories and ids."""
        return tuple(column for column in self.kept if column.kind == "str")


def columns_of(examples: Examples) -> TableColumns:
    """The role of every input of the rows."""
    kept, notes = [], []
    inputs = inputs_of(examples.inputs, examples.fields)
    for field in examples.fields:
        found = _column(examples, field.name, field.kind, inputs[field.name])
        if isinstance(found, TableColumn):
            kept.append(found)
        else:
            notes.append(found)
    return TableColumns(tuple(kept), tuple(notes))


def _column(examples: Examples, name: str, kind: Kind, values: pa.Array) -> TableColumn | str:
    """The column, or the reason why it is left out."""
    n, n_missing = len(values), values.null_count
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    if distinct + (n_missing > 0) <= 1:
        return f"{name} was left out: it has the same value in all {n} rows"
    if kind == "str":
        if n - n_missing >= _AT_LEAST and distinct >= _NAMES_ROWS * (n - n_missing):
            return (
                f"{name} was left out: {distinct} distinct texts in {n - n_missing} rows, so it looks like an ID column"
            )
        levels, n_known = frequent_texts(values)
        if not levels:
            return f"{name} was left out: none of its {distinct} texts occurs in {FEWEST_USERS} rows"
        return TableColumn(name, kind, n_missing, levels, n - n_missing - n_known)
    if kind == "int" and n >= _AT_LEAST and distinct == n and _spread(values) == n - 1:
        return f"{name} was left out: it is a row number"
    return TableColumn(name, kind, n_missing, plain=kind != "time" or not _runs_with_rows(examples, values))


def frequent_texts(values: pa.Array | pa.ChunkedArray, fewest: int = FEWEST_USERS) -> tuple[tuple[str, ...], int]:
    """The texts with at least `fewest` rows, most frequent first, and the number of their rows.

    A model and its bundle keep no other text, because a rare one may be a person's name.
    """
    counted = [one for one in pc.value_counts(values.drop_null()).to_pylist() if one["counts"] >= fewest]
    counted.sort(key=lambda one: (-one["counts"], one["values"]))
    return tuple(one["values"] for one in counted), sum(one["counts"] for one in counted)


def _spread(values: pa.Array) -> int:
    ends = pc.min_max(values).as_py()
    return int(ends["max"] - ends["min"])


def _runs_with_rows(examples: Examples, values: pa.Array) -> bool:
    """Whether a time rises with the time of the rows, so that every future row is outside the training range."""
    if examples.time is None:
        return False
    here = numbers(values)
    known = ~np.isnan(here)
    if known.sum() < 3 or not np.ptp(examples.time[known]):
        return False
    return bool(np.corrcoef(here[known], examples.time[known].astype(np.float64))[0, 1] > _TIED)
