"""The port `latest`: the online store, which keeps the newest row of each key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Latest(Protocol):
    """Online store, read side: the newest row of each key of a view. Fresh rows override the snapshot of the last run.

    A row is a dict of column to plain value, without the key; times are integer microseconds. A networked back-end
    needs one round trip per call, regardless of the number of keys or views.
    """

    def version(self, view: str) -> str | None:
        """The version of the snapshot that readers see; `None` if there is none."""
        ...

    def get(self, view: str, key: str) -> dict[str, Any] | None:
        """One row: the fresh row if there is one, else the snapshot's; `None` if the key is missing."""
        ...

    def get_many(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        """The results of `get` for each `(view, key)`, in their order, from one consistent read."""
        ...

    def take(self, view: str, keys: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, np.ndarray]:
        """The columns for many keys, in their order, null where missing; and a bool array of the keys present."""
        ...

    def keys(self, view: str) -> list[str]:
        """All keys of a view, sorted."""
        ...

    def marks(self, views: Sequence[str]) -> tuple[int, ...]:
        """The change counter of each view, from one consistent read. It increases with every change of the view.

        It must be cheap: servers call it many times a second.
        """
        ...

    def changed(self, view: str, after: int) -> tuple[int, list[str] | None]:
        """The change counter of a view, and the keys whose fresh rows were put or dropped since the counter `after`.
        The keys are `None` if unknown or if the snapshot was replaced; then read all rows again.
        """
        ...


class LatestWriter(Latest, Protocol):
    """Online store, read and write side, implemented by the same back-end as `Latest`.

    A fresh row has the time `at` when it was put (microseconds, server clock). It is valid until a snapshot covers
    that time.
    """

    def write(
        self, view: str, key: str, rows: pa.Table | pa.RecordBatchReader, version: str, covers: int | None = None
    ) -> None:
        """Atomically replace the snapshot of a view by `rows`, one per value of the column `key`. Readers see the old
        or the new snapshot. The same swap drops fresh rows put before the time `covers`: `rows` includes them.

        Of a reader's rows, only keys and some batches are in memory at once. If it fails, the old snapshot stays.
        """
        ...

    def put(self, view: str, key: str, row: Mapping[str, Any], at: int) -> None:
        """Put a fresh row on top of the snapshot. Every process sees it immediately."""
        ...

    def change(
        self, view: str, by: Mapping[str, Callable[[dict[str, Any] | None], Mapping[str, Any]]], at: int
    ) -> dict[str, dict[str, Any]]:
        """Atomically update rows: call the function of each key with its current row (or `None`), put all results or
        none of them, and return the new rows.

        A function must depend only on the row and may be called more than once. A back-end that cannot run functions
        in its transaction uses optimistic locking: it reads the rows, calls the functions, writes if none of these rows
        has changed (Redis: WATCH, MULTI, EXEC), and otherwise retries.
        """
        ...

    def drop_covered(self, view: str, covers: int) -> int:
        """Drop the fresh rows put before the time `covers` and return how many."""
        ...

    def forget(self, keys: Sequence[str]) -> int:
        """Delete these keys from the snapshots and fresh rows of every view and return how many rows were deleted. When
        it returns, no file of the store contains any byte of them, earlier versions included. If the process was
        killed, run it again. Hold the run's lease, so that no other process writes these keys meanwhile.
        """
        ...


@runtime_checkable
class MendableLatest(Protocol):
    """What an online store may also have, so that a run makes it again where it is damaged."""

    def damage(self, at_most: int | None = None) -> dict[str, str]:
        """View -> why its snapshot cannot be used; with the key "", why no row can be used.

        Reads everything, or of the rows put after the snapshots only `at_most`, others in each call.
        """
        ...

    def renew(self) -> None:
        """Begin anew with an empty store, whatever damage there is. Readers see it as an empty one."""
        ...
