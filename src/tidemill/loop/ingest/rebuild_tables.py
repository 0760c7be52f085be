"""Rebuilds of whole tables: of those whose code has changed, and of those that read an external table that has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tidemill.core.clock import from_micros, to_micros
from tidemill.core.ports import Lease
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.records.ingest import Verdict
from tidemill.loop.ingest.table_build import TableBuild, moved_external
from tidemill.loop.project.declarations import TableDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores


def published_codes(stores: Stores) -> dict[str, str]:
    """Table -> fingerprint of the code that last built it; every publication records it for all tables."""
    line = stores.ledger.last("publish")
    return msgspec.json.decode(line.details.get("codes", "{}"), type=dict[str, str]) if line else {}


def rebuild_changed_tables(
    stores: Stores, graph: ProjectGraph, *, lease: Lease, first: datetime | None = None, notes: list[str] | None = None
) -> list[str]:
    """Rebuild in full the published tables whose code has changed, or that read an external table with another version,
    and the tables that depend on them.

    Creates one publication without an increment and returns the names of its tables. It runs before any increment,
    because an increment records for every table that it was built with the current code. `first` also creates the
    first publication, as of this time. Where rows of another external version would be held, its tables stay at the
    published one, which `notes` then says.
    """
    has_run = stores.ledger.last("publish") is not None
    if not has_run and first is None:
        return []
    codes, published = published_codes(stores), stores.lake.view().external if has_run else {}
    moved = moved_external(graph, published)
    changed = {table.name for table in graph.order if codes.get(table.name) != graph.codes[table.name]}
    affected = {table.name for table in graph.downstream(changed | moved)}
    tables = [table for table in graph.order if table.name in changed | affected]
    if not tables:
        return []
    as_of = from_micros(stores.lake.view().as_of) if has_run or first is None else first
    with stores.lake.draft(lease) as draft:
        build = TableBuild(stores, graph, draft)
        known = {name for name in moved if name in published}
        failed = _make(build, tables, {table.name for table in graph.downstream(known)}, as_of)
        if not failed:
            about = {"codes": table_codes(graph), "rebuilt": ",".join(table.name for table in tables)}
            build.pin_external()
            draft.rebuild(to_micros(as_of), details=about)
            return [table.name for table in tables]
    if notes is not None:
        notes += [_stays(name, published[name], graph.external.pins[name], failed) for name in sorted(known)]
    graph.keep_external({name: published[name] for name in known})
    return rebuild_changed_tables(stores, graph, lease=lease, first=first, notes=notes)


def _make(build: TableBuild, tables: Sequence[TableDeclaration], checked: set[str], as_of: datetime) -> list[str]:
    """Build tables in full. Rows of another external version are checked, and what would hold them is returned."""
    failed = []
    for table in tables:
        if table.name not in checked:
            build.make_whole(table)
            continue
        verdict = build.make(table, as_of, ())
        failed += _holding(verdict)
    return failed


def _holding(verdict: Verdict) -> list[str]:
    if verdict.outcome != "hold":
        return []
    return [f"{failure.table}: {failure.says}" for failure in verdict.failures if failure.severity == "hold"]


def _stays(name: str, published: ExternalPin, found: ExternalPin, failed: Sequence[str]) -> str:
    return f"external table {name!r} stays at {published.says}: at {found.says}, {'; '.join(failed)}"


def table_codes(graph: ProjectGraph) -> str:
    """The fingerprint of the code of each table, as JSON."""
    return msgspec.json.encode({table.name: graph.codes[table.name] for table in graph.order}).decode()
