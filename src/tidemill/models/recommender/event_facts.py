"""Event facts: what a slate can read about items, from feature columns and live event counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

DAY_US = 86_400_000_000


class ItemFactColumns(Protocol):
    """Facts about the items of one catalogue, all arrays aligned to it.

    `version` changes whenever anything else here changes: a column, a count, the catalogue, or the day of the as-of
    (which moves the windows of `counts`). A slate compares it for each request and recomputes values only on change.
    """

    @property
    def version(self) -> str:
        """Identifier of the current state of all facts."""
        ...

    @property
    def items(self) -> Sequence[str]:
        """The catalogue: the bundle's items in the bundle's order, then those first seen since training."""
        ...

    def column(self, view: str, name: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        """One feature of every item, and a mask of where it is present."""
        ...

    def counts(self, days: int | None) -> npt.NDArray[np.int64]:
        """Events of every item in the last `days` days before the as-of; `None`: of all time."""
        ...


class EventFacts:
    """Facts from events in memory, for evaluation, notebooks and tests; immutable.

    >>> facts = EventFacts(["a", "b"], item=np.array([0, 0, 1]), time=np.array([0, 5, 9]) * DAY_US, as_of=10 * DAY_US)
    >>> facts.counts(6).tolist(), facts.counts(None).tolist()
    ([1, 1], [2, 1])
    """

    def __init__(
        self,
        items: Sequence[str],
        *,
        item: npt.NDArray[np.integer] | None = None,
        time: npt.NDArray[np.int64] | None = None,
        as_of: int = 0,
        columns: Mapping[tuple[str, str], tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]] | None = None,
        version: str = "1",
    ) -> None:
        self.items = items
        self.version = version
        self.as_of = as_of
        known = slice(None) if time is None else time < as_of
        self._item = np.zeros(0, np.int64) if item is None else item[known]
        self._time = np.zeros(0, np.int64) if time is None else time[known]
        self._columns = dict(columns or {})

    def column(self, view: str, name: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        found: tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]] = self._columns[view, name]
        return found

    def counts(self, days: int | None) -> npt.NDArray[np.int64]:
        recent = self._item if days is None else self._item[self._time >= self.as_of - days * DAY_US]
        return np.bincount(recent, minlength=len(self.items)).astype(np.int64)
