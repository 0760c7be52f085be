"""Feature view specification (`ViewSpec`): its inputs, and the times at which its values are valid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tidemill.core.errors import GraphError, UnknownName, nearest


@dataclass(frozen=True)
class ViewSpec:
    """A feature view: *rows* with their event time, or with `window_us` and `every_us` *aggregates* at boundaries.

    `GraphError` where only one of the two is given, or one of them is not above 0.

    >>> ViewSpec("taste", "user_id", len, ("ratings",), {"ratings": "reviewed_at"}, window_us=90, every_us=1).aggregated
    True
    """

    name: str
    entity: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    #: Input table -> its event-time column; absent or "": no event time, so all rows known by then are passed.
    times: Mapping[str, str]
    window_us: int | None = None
    every_us: int | None = None
    ttl_us: int | None = None
    #: Whether a row is valid from its known time, or (if the project asserts it) from its event time.
    known: Literal["known", "event"] = "known"

    def __post_init__(self) -> None:
        given = [length for length in (self.window_us, self.every_us) if length is not None]
        if len(given) == 1 or any(length <= 0 for length in given):
            raise GraphError(
                f"the view {self.name!r} has window_us={self.window_us} and every_us={self.every_us}",
                tip="aggregates need both, above 0; a view of rows has neither",
            )

    @property
    def aggregated(self) -> bool:
        """Whether the view has a value per boundary, not a row per event."""
        return self.every_us is not None

    def event_column(self, columns: Collection[str]) -> str:
        """The event-time column of the function's output: the first input's that it keeps; `GraphError` without one."""
        times = [time for name in self.inputs if (time := self.times.get(name, ""))]
        for time in times:
            if time in columns:
                return time
        raise GraphError(
            f"the view {self.name!r} has rows without an event time: {sorted(columns)}",
            tip=f"keep {' or '.join(times) or 'an event time'} in it, or declare a window and `every` for aggregates",
        )

    def check_entity(self, columns: Collection[str]) -> None:
        """`UnknownName` where the function's output has no column for the entity."""
        if self.entity not in columns:
            raise UnknownName(
                f"the view {self.name!r} has no column {self.entity!r}, its entity", tip=nearest(self.entity, columns)
            )
