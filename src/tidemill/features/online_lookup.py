"""Online look-up of the features that a tabular model needs for a request, each present, expired or missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidemill.core.ports import Latest
from tidemill.core.records.signature import FeatureLookup
from tidemill.features.value_intervals import AT

#: `expired`: older than the view's ttl, passed to the model as missing; `missing`: no row, or no entity in the request.
Status = Literal["present", "expired", "missing"]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The look-up result of one row: `values` and `status` by model input; `at` and `views` by view.

    `at` is the event time or boundary of a view's values (microseconds), also where they are expired; `None` where
    there is no row. `views` is the status of a view's row; a present row may still lack a single value, whose own
    status is then `missing`. A view that is looked up by several entities is named `view[entity]`.
    """

    values: dict[str, Any]
    status: dict[str, Status]
    at: dict[str, int | None]
    views: dict[str, Status]


class OnlineLookup:
    """Looks up the columns in a signature's `lookups`, for any number of rows in one read of the store.

    It caches nothing, so the next response sees a row that was just written or erased. A value is valid from its `_at`
    for `ttl_us` microseconds, that instant included, as in the training join.

    A personal entity is looked up by its surrogate. The newest row is returned, also for an older `now`.
    """

    def __init__(self, latest: Latest, lookups: Sequence[FeatureLookup]) -> None:
        self._latest = latest
        self._asked = [(lookup.view, lookup.entity) for lookup in lookups]
        self._plan = [
            (called, lookup.view, lookup.entity, lookup.ttl_us, tuple(lookup.columns.items()))
            for called, lookup in zip(names_of(lookups), lookups, strict=True)
        ]

    def look_up(self, entities: Mapping[str, str | None], now: int) -> LookupResult:
        """The values for the entities of one request, by the field that names each, as of `now` (microseconds)."""
        if len(self._asked) > 1:
            return self.of_many([(entities, now)])[0]
        rows = [
            self._latest.get(view, key) for view, entity in self._asked if (key := entities.get(entity)) is not None
        ]
        return self._found(entities, now, iter(rows))

    def of_many(self, rows: Sequence[tuple[Mapping[str, str | None], int]]) -> list[LookupResult]:
        """The values for many rows, each with its own entities and instant; one read of the store for all of them."""
        wanted = [
            (view, key)
            for entities, _ in rows
            for view, entity in self._asked
            if (key := entities.get(entity)) is not None
        ]
        found = iter(self._latest.get_many(wanted))
        return [self._found(entities, now, found) for entities, now in rows]

    def _found(
        self, entities: Mapping[str, str | None], now: int, rows: Iterator[dict[str, Any] | None]
    ) -> LookupResult:
        """The result for one request from its `rows`, which are in the order of the plan."""
        values: dict[str, Any] = {}
        status: dict[str, Status] = {}
        at: dict[str, int | None] = {}
        views: dict[str, Status] = {}
        for called, _, entity, ttl_us, columns in self._plan:
            row = None if entities.get(entity) is None else next(rows)
            if row is None:
                at[called], views[called] = None, "missing"
                for name, _ in columns:
                    values[name], status[name] = None, "missing"
                continue
            since = at[called] = row.get(AT)
            if ttl_us is not None and since is not None and now - since > ttl_us:
                views[called] = "expired"
                for name, _ in columns:
                    values[name], status[name] = None, "expired"
                continue
            views[called] = "present"
            for name, column in columns:
                value = values[name] = row.get(column)
                status[name] = "missing" if value is None else "present"
        return LookupResult(values, status, at, views)


def names_of(lookups: Sequence[FeatureLookup]) -> list[str]:
    """The name of each lookup in responses and logs: its view, with the entity where several entities look it up.

    >>> lookups = [FeatureLookup(view="taste", entity=entity, columns={}) for entity in ("buyer", "seller")]
    >>> names_of(lookups)
    ['taste[buyer]', 'taste[seller]']
    """
    views = [lookup.view for lookup in lookups]
    return [lookup.view if views.count(lookup.view) == 1 else f"{lookup.view}[{lookup.entity}]" for lookup in lookups]
