"""Increment history of a stream: every increment with its verdict, from the ledger."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pyarrow as pa

from tidemill.checks import split_refused
from tidemill.core.records.ingest import Failure
from tidemill.core.row_ids import split_row_id
from tidemill.loop.ingest.arrivals import names_of_held
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.pipeline.run import stream_named
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores


class IncrementVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """An increment with its state and its failed checks."""

    number: int
    day: date
    arrived: int
    #: `published`, `held`, `accepted` or `replaced`.
    state: str
    failures: tuple[Failure, ...]


class RefusedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A refused line: its location and the reason. Its content is sealed in the lake."""

    number: int
    #: `held` if its increment is held, else `published`.
    state: str
    file: str
    line: int
    column: str | None
    reason: str


def refused(stores: Stores, graph: ProjectGraph, stream: str) -> list[RefusedLine]:
    """Every refused line of a stream, by increment and location."""
    contract = stream_named(graph, stream).contract
    found = []
    quarantined = stores.lake.quarantined(stream)
    if quarantined is not None:
        found = [_line(row, row["_increment"], "published") for row in _places(quarantined)]
    for state in stores.lake.increments(stream):
        if state.state == "held":
            number = state.increment.number
            held = stores.lake.held(stream, number)
            names = names_of_held(held.details)
            if held.refused is not None:
                found += [_line(row, number, "held") for row in _places(held.refused)]
            rows, _ = opened_table(stores.vault, held.rows)
            broken = split_refused(contract, rows.drop_columns([c for c in ["_day"] if c in rows.column_names]))[1]
            for row in broken.to_pylist():
                file, line = split_row_id(row["_row"])
                place = {"file": names.get(file, str(file)), "line": line}
                found.append(_line(row | place, number, "held"))
    return sorted(found, key=lambda one: (one.number, one.file, one.line))


def _places(rows: pa.Table) -> list[dict[str, Any]]:
    places: list[dict[str, Any]] = rows.drop_columns(["raw"]).to_pylist()
    return places


def _line(row: dict[str, Any], number: int, state: str) -> RefusedLine:
    return RefusedLine(
        number=number, state=state, file=row["file"], line=row["line"], column=row["column"], reason=row["reason"]
    )


def increment_history(stores: Stores, graph: ProjectGraph, stream: str) -> list[IncrementVerdict]:
    """The increments of a stream in order of arrival."""
    stream_named(graph, stream)
    return [
        IncrementVerdict(
            number=state.increment.number,
            day=state.increment.day,
            arrived=state.increment.counts.arrived,
            state=state.state,
            failures=state.verdict.failures,
        )
        for state in stores.lake.increments(stream)
    ]
