"""A run: everything that is due, brought in, checked, published or held; then features; then what the server needs,
and the champions that are to be kept fresh.

One run at a time brings in days; models are trained and promoted meanwhile. A killed run is simply run again: what the
ledger has is done, what it has not is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import msgspec

from tidemill import loop
from tidemill.core.clock import as_of, last_full_day
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.lease import LAKE
from tidemill.loop.arrivals import Arrivals, Day, arrivals, stands
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.increment import Arrival, Brought, bring_in, rebuild_changed
from tidemill.loop.nodes import Stream
from tidemill.loop.origins import refuse_strange, sources_of
from tidemill.loop.recovery import recover_pointers
from tidemill.loop.refresh import refresh
from tidemill.loop.source_states import StateRef

#: Told what happens while it happens: `(what, details)`.
Teller = Callable[[str, dict[str, Any]], None]


def silent(what: str, details: dict[str, Any]) -> None:
    """A teller that says nothing."""


@dataclass
class RunReport:
    """What a run did, in numbers."""

    until: date
    increments: int = 0
    arrived: int = 0
    merged: int = 0
    repeated: int = 0
    contradicted: int = 0
    refused: int = 0
    #: `(stream, number)` of the increments that this run held.
    held: list[tuple[str, int]] = field(default_factory=list)
    warnings: int = 0
    publications: int = 0
    #: Per increment: day, stream, rows arrived, rows read, CPU microseconds.
    costs: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    #: Releases that are live now because their champion was refreshed.
    refreshed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


def run(
    house: House,
    graph: Graph,
    *,
    until: date | None = None,
    backfill: bool = False,
    tell: Teller = silent,
) -> RunReport:
    """Bring in what is due up to and including `until` (default: the last full day), and refresh what follows."""
    started = time.process_time()
    now = house.clock.now()
    with house.leases.take(LAKE) as lease:
        notes = house.lake.recover(lease) + recover_pointers(house)
        waiting = _waiting(house, graph, until, now, backfill=backfill)
        last = until or max((last_full_day(now, stream.day_zone) for stream in _streams(graph)), default=now.date())
        report = RunReport(until=last, notes=notes + [note for due in waiting.values() for note in due.notes])
        remade = rebuild_changed(house, graph, lease=lease)
        if remade:
            tell("rebuild", {"tables": remade})
            report.publications += 1
        histories = {name: _history(house, name) for name, due in waiting.items() if due.days}
        total = sum(len(due.days) for due in waiting.values())
        tell("due", {"increments": total})
        numbers = {name: due.progress.number for name, due in waiting.items()}
        states = {name: _state_kept(house, due) for name, due in waiting.items() if due.days}
        for name, day in _in_order(waiting):
            numbers[name] += 1
            due = waiting[name]
            brought = bring_in(
                house,
                graph,
                Arrival(due.stream, numbers[name], day, now, names=due.names, backfill=backfill),
                lease=lease,
                history=histories[name],
                details={"source_state": msgspec.to_builtins(states[name])},
            )
            if brought.publication is not None and not backfill:
                histories[name].append(brought.verdict.metrics)
            _count(report, brought)
            tell("increment", {"brought": brought})
        report.views = refresh(house, graph, lease, tell)
        if any(model.refresh is not None for model in graph.mill.recommenders.values()):
            # Through the door: what counts and learns is loaded only where a champion is to be kept fresh.
            report.refreshed, said = loop.refresh_champions(house, graph, lease, tell)
            report.notes += said
        _remove_superseded(house, graph)
    if report.publications or report.held or report.views or report.refreshed:
        house.ledger.checkpoint(house.state / "checkpoints")
    report.cpu_s = time.process_time() - started
    return report


def _waiting(house: House, graph: Graph, until: date | None, now: datetime, *, backfill: bool) -> dict[str, Arrivals]:
    """What is due of every stream, snapshots first. Facts without a time of their own hold, in a backfill, from the
    start of history on; so events are read before them.
    """
    found: dict[str, Arrivals] = {}
    refuse_strange(house.settings, graph.mill.streams)
    for stream in reversed(_streams(graph)):
        last = until or last_full_day(now, stream.day_zone)
        progress = stands(house, stream.name)
        arrival = as_of(last, stream.day_zone)
        if backfill and found:
            arrival = min([arrival, *(due.first_event for due in found.values() if due.first_event)])
        found[stream.name] = arrivals(
            stream,
            sources_of(house, stream),
            progress,
            house.source_states,
            until=last,
            arrival=arrival,
            now=now,
            backfill=backfill,
            surrogates=house.surrogates,
            vault=house.vault,
        )
    return {stream.name: found[stream.name] for stream in _streams(graph)}


def _streams(graph: Graph) -> list[Stream]:
    """Snapshots first, so that a day's facts are there when its events come."""
    return sorted(graph.mill.streams.values(), key=lambda stream: not stream.snapshot)


def _state_kept(house: House, due: Arrivals) -> StateRef:
    """Store what the sources have to know next time; every line of this run names it."""
    return house.source_states.write(due.stream.name, due.states, due.progress.state)


def _remove_superseded(house: House, graph: Graph) -> None:
    for name in graph.mill.streams:
        house.source_states.remove_superseded(name, stands(house, name).state)


def _in_order(waiting: dict[str, Arrivals]) -> Iterator[tuple[str, Day]]:
    """Day by day over all streams; within a day in the order of the streams."""
    days = [(day.day, i, name, day) for i, (name, due) in enumerate(waiting.items()) for day in due.days]
    for _, _, name, day in sorted(days, key=lambda entry: (entry[0], entry[1])):
        yield name, day


def _history(house: House, name: str) -> list[Mapping[str, float]]:
    """What was measured of each published day, oldest first: what later days are compared with."""
    days = [state for state in house.lake.increments(name) if state.publication and not state.increment.backfill]
    return [state.verdict.metrics for state in days]


def _count(report: RunReport, brought: Brought) -> None:
    counts = brought.increment.counts
    report.increments += 1
    report.arrived += counts.arrived
    report.refused += counts.refused
    report.warnings += sum(1 for failure in brought.verdict.failures if failure.severity == "warn")
    day = brought.increment.day.isoformat()
    report.costs.append((day, brought.increment.stream, counts.arrived, brought.rows_read, brought.cpu_us))
    if brought.publication is None:
        report.held.append((brought.increment.stream, brought.increment.number))
        return
    report.publications += 1
    report.merged += counts.merged
    report.repeated += counts.repeated
    report.contradicted += counts.contradicted


def stream_named(graph: Graph, name: str) -> Stream:
    """The stream of that name, or an error that names the nearest."""
    if name not in graph.mill.streams:
        raise UnknownName(f"no stream {name!r}", tip=nearest(name, graph.mill.streams))
    return graph.mill.streams[name]
