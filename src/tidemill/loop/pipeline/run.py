"""A run of the pipeline: ingests, checks and publishes (or holds) due data, materialises features for the server and
refreshes champions.

Only one run at a time ingests; models can be trained and promoted meanwhile. After a kill, run it again: everything
recorded in the ledger is done, the rest is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

import msgspec

from tidemill import loop
from tidemill.core.clock import as_of, from_micros, last_full_day
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.lease import LAKE
from tidemill.core.progress import Progress, no_progress
from tidemill.loop.ingest.arrivals import DayRows, PendingRows, pending_rows, stream_position
from tidemill.loop.ingest.ingest_increment import (
    IncrementRows,
    IngestResult,
    ingest_increment,
)
from tidemill.loop.ingest.outlier_days import Period
from tidemill.loop.ingest.rebuild_tables import rebuild_changed_tables
from tidemill.loop.ingest.stream_sources import check_source_names, sources_of
from tidemill.loop.ingest.worker_rows import WorkerRows
from tidemill.loop.online.materialise_online import materialise_online
from tidemill.loop.pipeline.read_again import read_again
from tidemill.loop.project.declarations import StreamDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.lake_owner import claim_lake
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.source_states import StateRef
from tidemill.loop.project.stores import CHECKPOINTS, Stores


@dataclass
class RunReport:
    """The counts of a run."""

    until: date
    increments: int = 0
    arrived: int = 0
    merged: int = 0
    repeated: int = 0
    contradicted: int = 0
    refused: int = 0
    #: Of the refused: places of the event log that were damaged on disk.
    damaged: int = 0
    #: `(stream, number)` of the increments held by this run, and of those that earlier runs held and nobody resolved.
    held: list[tuple[str, int]] = field(default_factory=list)
    still_held: list[tuple[str, int]] = field(default_factory=list)
    warnings: int = 0
    publications: int = 0
    #: Per increment: day, stream, rows arrived, rows read, CPU microseconds.
    costs: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    #: Refreshed releases that this run promoted.
    refreshed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


def run(
    stores: Stores,
    graph: ProjectGraph,
    *,
    until: date | None = None,
    backfill: bool = False,
    progress: Progress = no_progress,
) -> RunReport:
    """Ingest due data up to and including `until` (default: the last full day), and refresh dependent data."""
    started = time.process_time()
    now = stores.clock.now()
    today = max((now.astimezone(ZoneInfo(stream.day_zone)).date() for stream in _streams(graph)), default=now.date())
    if until is not None and until > today:
        raise UsageError(f"{until} is in the future: the days after it would come too late", tip=f"today is {today}")
    with stores.leases.take(LAKE) as lease, ExitStack() as kept:
        claim_lake(stores)
        stores.ledger.refuse_fork(stores.lake.newest_heads())
        notes = stores.lake.recover(lease) + recover_live_files(stores)
        waiting = _waiting(stores, graph, until, now, kept, backfill=backfill)
        last = until or max((last_full_day(now, stream.day_zone) for stream in _streams(graph)), default=now.date())
        report = RunReport(until=last, notes=notes + [note for due in waiting.values() for note in due.notes])
        graph.pin_external()
        rebuilt = rebuild_changed_tables(stores, graph, lease=lease, notes=report.notes)
        if rebuilt:
            progress("rebuild", {"tables": rebuilt})
            report.publications += 1
        for result in read_again(stores, graph, lease, now, partial(_history, stores), report.notes):
            _count(report, result)
        histories = {name: _history(stores, name) for name, due in waiting.items() if due.days}
        total = sum(len(due.days) for due in waiting.values())
        progress("due", {"increments": total})
        numbers = {name: due.progress.number for name, due in waiting.items()}
        states = {name: _state_kept(stores, due) for name, due in waiting.items() if due.days}
        for name, day in _in_order(waiting):
            numbers[name] += 1
            due = waiting[name]
            result = ingest_increment(
                stores,
                graph,
                IncrementRows(due.stream, numbers[name], day, now, names=due.names, backfill=backfill),
                lease=lease,
                history=histories[name],
                details={} if day.outlier else {"source_state": msgspec.to_builtins(states[name])},
            )
            if result.publication is not None and not backfill:
                histories[name].append(result.verdict.metrics)
            _count(report, result)
            progress("increment", {"brought": result})
        report.still_held = _still_held(stores, graph, report)
        if graph.mill.external_tables and not (report.increments or report.still_held):  # tables without any stream
            first = as_of(last, "UTC")
            report.publications += bool(rebuild_changed_tables(stores, graph, lease=lease, first=first))
        report.views = materialise_online(stores, graph, lease, progress, report.notes)
        refreshed = any(model.refresh is not None for model in graph.mill.recommenders.values())
        if refreshed:
            # Through the package: the learners are loaded only if a champion is to be refreshed.
            report.refreshed, notes = loop.refresh_champions(stores, graph, lease, progress)
            report.notes += notes
        _remove_superseded(stores, graph)
        if refreshed or graph.askings or stores.code_items_file.exists() or stores.ledger.last("log"):  # as above
            loop.write_code_items(stores, graph)
    if report.publications or report.held or report.views or report.refreshed:
        stores.ledger.checkpoint(stores.state / CHECKPOINTS)
    report.cpu_s = time.process_time() - started
    return report


def _waiting(
    stores: Stores, graph: ProjectGraph, until: date | None, now: datetime, kept: ExitStack, *, backfill: bool
) -> dict[str, PendingRows]:
    """The pending rows of every stream, snapshots first. In a backfill, facts without a time are valid from the start
    of history; so events are read before them. What workers have read stays until `kept` ends.
    """
    found: dict[str, PendingRows] = {}
    check_source_names(stores.settings, graph.mill.streams)
    for stream in reversed(_streams(graph)):
        last = until or last_full_day(now, stream.day_zone)
        position = stream_position(stores.ledger, stream.name)
        arrival = as_of(last, stream.day_zone)
        if backfill and found:
            arrival = min([arrival, *(due.first_event for due in found.values() if due.first_event)])
        found[stream.name] = pending_rows(
            stream,
            sources_of(stores, stream),
            position,
            stores.source_states,
            until=last,
            arrival=arrival,
            now=now,
            backfill=backfill,
            surrogates=stores.surrogates,
            vault=stores.vault,
            history=partial(_history_period, stores, stream),
            roots=stores.settings.source_roots,
            workers=WorkerRows(stores.engine, stream.contract, stores.keys, kept),
        )
    return {stream.name: found[stream.name] for stream in _streams(graph)}


def _history_period(stores: Stores, stream: StreamDeclaration) -> Period | None:
    """The period of the published rows of a stream."""
    published = [one.increment for one in stores.lake.increments(stream.name) if one.publication]
    times = [(one.first_event, one.last_event) for one in published if one.first_event and one.last_event]
    if not times:
        return None
    bounds = min(first for first, _ in times), max(last for _, last in times)
    zone = ZoneInfo(stream.day_zone)
    first, last = ((from_micros(at).astimezone(zone).date() - date(1970, 1, 1)).days for at in bounds)
    return Period(first, last, stores.lake.view().rows(stream.name))


def _streams(graph: ProjectGraph) -> list[StreamDeclaration]:
    """The streams, snapshots first, so that a day's facts are published before its events."""
    return sorted(graph.mill.streams.values(), key=lambda stream: not stream.snapshot)


def _state_kept(stores: Stores, due: PendingRows) -> StateRef:
    """Store the state of the sources for the next run; every ledger entry of this run references it."""
    return stores.source_states.write(due.stream.name, due.states, due.progress.state)


def _remove_superseded(stores: Stores, graph: ProjectGraph) -> None:
    for name in graph.mill.streams:
        stores.source_states.remove_superseded(name, stream_position(stores.ledger, name).state)


def _in_order(waiting: dict[str, PendingRows]) -> Iterator[tuple[str, DayRows]]:
    """Day by day over all streams; within a day in the order of the streams."""
    days = [(day.day, i, name, day) for i, (name, due) in enumerate(waiting.items()) for day in due.days]
    for _, _, name, day in sorted(days, key=lambda entry: (entry[0], entry[1])):
        yield name, day


def _still_held(stores: Stores, graph: ProjectGraph, report: RunReport) -> list[tuple[str, int]]:
    held = [(name, one.increment.number) for name in graph.mill.streams for one in stores.lake.held_increments(name)]
    return [one for one in held if one not in report.held]


def _history(stores: Stores, name: str) -> list[Mapping[str, float]]:
    """The metrics of each published day, oldest first, as the baseline for later days."""
    days = [state for state in stores.lake.increments(name) if state.publication and not state.increment.backfill]
    return [state.verdict.metrics for state in days]


def _count(report: RunReport, result: IngestResult) -> None:
    counts = result.increment.counts
    report.increments += 1
    report.arrived += counts.arrived
    report.refused += counts.refused
    report.damaged += counts.damaged
    report.warnings += sum(1 for failure in result.verdict.failures if failure.severity == "warn")
    day = result.increment.day.isoformat()
    report.costs.append((day, result.increment.stream, counts.arrived, result.rows_read, result.cpu_us))
    if result.publication is None:
        report.held.append((result.increment.stream, result.increment.number))
        return
    report.publications += 1
    report.merged += counts.merged
    report.repeated += counts.repeated
    report.contradicted += counts.contradicted


def stream_named(graph: ProjectGraph, name: str) -> StreamDeclaration:
    """The stream of that name, or an error with the nearest name."""
    if name not in graph.mill.streams:
        raise UnknownName(f"no stream {name!r}", tip=nearest(name, graph.mill.streams))
    return graph.mill.streams[name]
