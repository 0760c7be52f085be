"""Item facts for slates: feature columns and live counts, aligned to one catalogue.

Everything is read from the Latest store into arrays once, and later only the rows that changed: a request reads
arrays, not the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tidemill.core.errors import UnknownName, nearest
from tidemill.core.ports import Latest

_DAY_US = 86_400_000_000
_COUNTS = ("n_all", "days", "counts")

Column = tuple[NDArray[Any], NDArray[np.bool_]]


class ItemFacts:
    """Facts of one model's items, as of `as_of()` (microseconds).

    `items` is the bundle's catalogue, which keeps its order; other items of `views` or `counted` follow it, sorted.
    `views` maps the item views that rules read to their columns. `counted` is the view of daily counts: `n_all`, and
    the lists `days` (since 1970) and `counts`.

    Call `refresh` before a response: it reads the change marks of its views, and only changed rows. `version` changes
    whenever an array does.
    """

    def __init__(
        self,
        latest: Latest,
        items: Sequence[str],
        *,
        views: Mapping[str, Sequence[str]],
        counted: str,
        as_of: Callable[[], int],
    ) -> None:
        self._latest = latest
        self._bundled = list(items)
        self._views = {view: tuple(columns) for view, columns in views.items()}
        self._counted = counted
        self._as_of = as_of
        self._read = {**self._views, counted: _COUNTS}
        self._marks: dict[str, int] = dict.fromkeys(self._read, -1)
        self._turn = 0
        self._day = -1
        self.items: Sequence[str] = self._bundled
        self._place: dict[str, int] = {}
        self._columns: dict[tuple[str, str], Column] = {}
        self._daily = _DailyCounts(*(np.zeros(0, np.int64) for _ in range(4)))
        self._windows: dict[int | None, NDArray[np.int64]] = {}
        self.refresh()

    @property
    def version(self) -> str:
        """Identifies the current state of all facts."""
        return f"{self._turn}:{self._day}"

    def refresh(self) -> bool:
        """Read what changed in the store, and the current day; returns whether anything changed."""
        before = self.version
        moved: dict[str, list[str] | None] = {}
        for (view, mark), present in zip(self._marks.items(), self._latest.marks(list(self._marks)), strict=True):
            if present == mark:
                continue
            self._marks[view], keys = self._latest.changed(view, mark)
            if keys is None or keys:
                moved[view] = keys
        if moved:
            self._take_in(moved)
            self._turn += 1
        day = -(-self._as_of() // _DAY_US)  # the first day that begins at or after the as-of time
        if day != self._day or moved:
            self._day, self._windows = day, {}
        return self.version != before

    def column(self, view: str, name: str) -> Column:
        """One feature of every item (strings and lists as objects), and its validity mask (bool)."""
        stored = self._columns.get((view, name))
        if stored is None:
            known = [f"{view}.{name}" for view, name in self._columns]
            raise UnknownName(f"the fact {view}.{name} was not requested", tip=nearest(f"{view}.{name}", known))
        return stored

    def counts(self, days: int | None) -> NDArray[np.int64]:
        """Events of each item in the last `days` days up to the as-of time (its day included); `None`: all time."""
        counts_ = self._windows.get(days)
        if counts_ is None:
            counts_ = self._daily.totals if days is None else self._daily.between(self._day - days, self._day)
            self._windows[days] = counts_
        return counts_

    def _take_in(self, moved: Mapping[str, list[str] | None]) -> None:
        if any(keys is None or any(key not in self._place for key in keys) for keys in moved.values()):
            self._read_all()
            return
        for view, keys in moved.items():
            assert keys is not None
            at = np.array([self._place[key] for key in keys])
            rows, present = self._latest.take(view, keys, self._read[view])
            if view == self._counted:
                self._daily = self._daily.changed(at, rows)
            for name in self._views.get(view, ()):
                self._columns[view, name] = _changed(self._columns[view, name], at, _column(rows[name], present))

    def _read_all(self) -> None:
        bundled = set(self._bundled)
        others = {key for view in self._read for key in self._latest.keys(view)} - bundled
        self.items = [*self._bundled, *sorted(others)]
        self._place = {item: place for place, item in enumerate(self.items)}
        for view, names in self._views.items():
            rows, present = self._latest.take(view, self.items, names)
            for name in names:
                self._columns[view, name] = _column(rows[name], present)
        rows, _ = self._latest.take(self._counted, self.items, _COUNTS)
        self._daily = _DailyCounts.from_rows(rows)


class _DailyCounts:
    """Events of each item on each day, as flat arrays sorted by day."""

    def __init__(
        self, totals: NDArray[np.int64], item: NDArray[np.int64], day: NDArray[np.int64], count: NDArray[np.int64]
    ) -> None:
        order = np.argsort(day, kind="stable")
        self.totals = totals  # (n_items,)
        self._item, self._day, self._count = item[order], day[order], count[order]  # (n_entries,)

    @classmethod
    def from_rows(cls, rows: pa.Table) -> _DailyCounts:
        totals = pc.fill_null(rows["n_all"].cast(pa.int64()), 0).to_numpy()
        days, counts = (_flat(rows[name]) for name in ("days", "counts"))
        return cls(totals, days[0], days[1], counts[1])

    def changed(self, at: NDArray[np.int64], rows: pa.Table) -> _DailyCounts:
        """A copy in which `rows` replace the counts of the items at positions `at`."""
        new = _DailyCounts.from_rows(rows)
        kept = ~np.isin(self._item, at)
        totals = self.totals.copy()
        totals[at] = new.totals
        return _DailyCounts(
            totals,
            np.r_[self._item[kept], at[new._item]],
            np.r_[self._day[kept], new._day],
            np.r_[self._count[kept], new._count],
        )

    def between(self, start: int, end: int) -> NDArray[np.int64]:
        """Events of each item from day `start` up to but not including day `end`."""
        part = slice(*np.searchsorted(self._day, [start, end]))
        sums = np.bincount(self._item[part], weights=self._count[part], minlength=len(self.totals))
        return sums.astype(np.int64)


def _flat(lists: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row index of each entry of a list column, and the entry."""
    if pa.types.is_null(lists.type):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    whole = lists.combine_chunks()
    return pc.list_parent_indices(whole).to_numpy(), pc.list_flatten(whole).cast(pa.int64()).to_numpy()


def _column(values: pa.ChunkedArray, present: NDArray[np.bool_]) -> Column:
    """Values as numpy (undefined where missing), and their validity mask."""
    valid = present & values.is_valid().to_numpy()
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        values = pc.fill_null(values, False if pa.types.is_boolean(values.type) else 0)
    return values.to_numpy(), valid


def _changed(column: Column, at: NDArray[np.int64], new: Column) -> Column:
    """An updated copy, because a running request still reads the old arrays; non-numeric values become objects."""
    values, valid = column[0].copy(), column[1].copy()
    if values.dtype != new[0].dtype:
        values = values.astype(np.result_type(values, new[0]))
    values[at], valid[at] = new
    return values, valid
