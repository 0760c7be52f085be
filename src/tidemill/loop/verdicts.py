"""Every increment of a stream with its verdict, as the ledger has it."""

from __future__ import annotations

from datetime import date

import msgspec

from tidemill.core.records import Failure
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.run import stream_named


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An increment and what became of it."""

    number: int
    day: date
    arrived: int
    #: `published`, `held`, `accepted` or `replaced`.
    state: str
    failures: tuple[Failure, ...]


def judged(house: House, graph: Graph, stream: str) -> list[Judged]:
    """The increments of a stream in order of arrival."""
    stream_named(graph, stream)
    return [
        Judged(
            number=state.increment.number,
            day=state.increment.day,
            arrived=state.increment.counts.arrived,
            state=state.state,
            failures=state.verdict.failures,
        )
        for state in house.lake.increments(stream)
    ]
