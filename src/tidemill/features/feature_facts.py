"""Feature facts sorted by the time at which they became visible, so that a look-up is one binary search.

A fact is visible from `max(event, known)`. In that order, a fact whose event is older than one visible before it is
never used: it arrived late, and a newer one was already known. Without those facts, the newest visible fact is the
current one, and the known-time join is an ordinary as-of join.

Of facts with the same event, the one known last is used, then the one with the largest `_row`, then the largest in the
other columns in the order of their names, a missing value being the smallest: the same on every engine, for every
order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.contract.contract import KNOWN_AT, ROW
from tidemill.core.errors import TypeMismatch
from tidemill.features.epoch_micros import plain_micros
from tidemill.features.value_intervals import AT

Ints = NDArray[np.int64]


class FeatureFacts:
    """The facts of a view that can be used, sorted by entity and the time from which they are visible.

    `rows` have `entity`, `_at` and, unless `by_event`, `_known_at`; rows where one of them is missing are never used.
    """

    def __init__(self, rows: pa.Table, entity: str, *, by_event: bool) -> None:
        event, has_event = plain_micros(rows[AT], AT)
        known, has_known = (event, has_event) if by_event else plain_micros(rows[KNOWN_AT], KNOWN_AT)
        encoded = _encoded(rows[entity])
        self._entities = encoded.dictionary
        codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        used = has_event & has_known & encoded.is_valid().to_numpy(zero_copy_only=False)
        row = np.flatnonzero(used)
        if len(row) < len(used):
            codes, event, known = codes[row], event[row], known[row]
        visible = event if by_event else np.maximum(event, known)
        self._keys = _Keys.over(visible, len(self._entities))
        key = self._keys.positions(codes, visible)
        order = np.argsort(key)
        key = key[order]
        last = _last_of_ties(rows, row, order, key, event, known)
        if last is not None:
            key, order = key[last], order[last]
        if not by_event:
            codes, event = codes[order], event[order]
            event_keys = _Keys.over(event, len(self._entities)).positions(codes, event)
            used = event_keys >= np.maximum.accumulate(event_keys)
            key, order = key[used], order[used]
        self._key, self._row = key, row[order]

    def rows_at(self, entities: pa.ChunkedArray, at: Ints, there: NDArray[np.bool_]) -> Ints:
        """The current row of each entity at each time (where `there`), -1 where there is none; int64 (n,).

        `TypeMismatch` where the entities have another type than those of the facts.
        """
        if not len(self._key):
            return np.full(len(at), -1, np.int64)
        indices = pc.index_in(entities_as(entities, self._entities.type), value_set=self._entities)
        usable = indices.is_valid().to_numpy() & there & (at >= self._keys.first)
        codes = pc.fill_null(indices, 0).to_numpy().astype(np.int64)
        keys = self._keys.positions(codes, at)
        order = np.argsort(keys)  # sorted look-ups access memory sequentially
        place = np.empty(len(keys), np.int64)
        place[order] = np.searchsorted(self._key, keys[order], side="right") - 1
        usable &= self._key[place] >= codes * self._keys.span  # not a fact of the previous entity; -1 is the last fact
        usable &= place >= 0
        return np.where(usable, self._row[place], -1)

    def newest(self) -> Ints:
        """The current row of each entity after the last fact became visible; int64 (n_entities_with_any,)."""
        entity = self._key // self._keys.span
        return self._row[np.flatnonzero(np.r_[entity[1:] != entity[:-1], True])] if len(entity) else self._row


@dataclass(frozen=True)
class _Keys:
    """Entity and time as one int64, ordered by entity, then time."""

    first: int
    span: int
    #: The distinct times, sorted, where entity and time span would not fit one int64; else `None`.
    steps: Ints | None

    @classmethod
    def over(cls, times: Ints, n_entities: int) -> _Keys:
        first, last = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        if (last - first + 2) * max(n_entities, 1) < 1 << 63:
            return cls(first, last - first + 2, None)
        steps = np.unique(times)
        return cls(first, len(steps) + 1, steps)

    def positions(self, codes: Ints, times: Ints) -> Ints:
        """Clips times before the first one to it, and times after the last one to right after it."""
        if self.steps is None:
            return codes * self.span + (np.clip(times, self.first, self.first + self.span - 1) - self.first)
        return codes * self.span + np.maximum(np.searchsorted(self.steps, times, side="right") - 1, 0)


def _last_of_ties(
    rows: pa.Table, row: Ints, order: Ints, key: Ints, event: Ints, known: Ints
) -> NDArray[np.int64] | None:
    """Positions among the sorted facts, one per key: of facts that became visible at the same time, the one to use.

    `None` where every key is unique. Only tied facts are compared further.
    """
    ends = np.flatnonzero(np.r_[key[1:] != key[:-1], True]) if len(key) else np.zeros(0, np.int64)
    if len(ends) == len(key):
        return None
    sizes = np.diff(ends, prepend=-1)  # (n_keys,)
    tied = np.flatnonzero(np.repeat(sizes > 1, sizes))
    group = np.repeat(np.arange(int((sizes > 1).sum())), sizes[sizes > 1])  # (n_tied,)
    for rank in (event, known, *_row_numbers(rows, row)):
        values = rank[order[tied]]
        begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        best = values == np.maximum.reduceat(values, begins)[group]  # each group keeps at least one
        tied, group = tied[best], group[best]
    if len(tied) > group[-1] + 1:
        finest = _by_columns(rows.take(pa.array(row[order[tied]])), group)
        tied = tied[finest][np.r_[group[1:] != group[:-1], True]]
    ends[sizes > 1] = tied
    return ends


def _row_numbers(rows: pa.Table, row: Ints) -> list[Ints]:
    """`_row` of each fact, where all facts have one: it resolves most ties without comparing other columns."""
    if ROW not in rows.column_names or rows[ROW].null_count or not pa.types.is_integer(rows[ROW].type):
        return []
    numbers = rows[ROW].cast(pa.int64()).to_numpy()
    return [numbers if len(row) == len(numbers) else numbers[row]]


def _by_columns(rows: pa.Table, group: Ints) -> Ints:
    """The order of rows by group, then `_row`, then all other columns by name, missing values first."""
    names = [
        name for name in sorted(rows.column_names, key=lambda name: (name != ROW, name)) if name not in (AT, KNOWN_AT)
    ]
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"group": pa.array(group)}
    for number, name in enumerate(names):
        kind = rows[name].type
        if pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind):
            continue
        columns[f"there_{number}"] = pc.is_valid(rows[name])
        columns[f"value_{number}"] = rows[name]
    indices = pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in columns])
    return np.asarray(indices.to_numpy().astype(np.int64))


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    whole = column.combine_chunks()
    if isinstance(whole, pa.Array):  # dictionaries of many chunks are unified slowly
        return whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    encoded = whole.dictionary_encode().unify_dictionaries().combine_chunks()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def entities_as(entities: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The entities cast to the type of the facts' entities: both strings, or both integers; else `TypeMismatch`."""
    if entities.type == kind:
        return entities
    if pa.types.is_dictionary(entities.type):
        entities = entities.cast(entities.type.value_type)
    for is_kind in (_is_text, pa.types.is_integer, pa.types.is_null):
        if is_kind(entities.type) and (is_kind(kind) or pa.types.is_null(entities.type)):
            return entities.cast(kind)
    raise TypeMismatch(
        f"the entities of the examples are {entities.type}, but those of the view are {kind}",
        tip="cast one of them, so that both are strings or both are integers",
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
