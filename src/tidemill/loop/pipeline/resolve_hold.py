"""Resolution of a held increment, once: a named person accepts it with a reason, or a corrected file replaces it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.contract.contract import ROW
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import UsageError
from tidemill.core.lease import LAKE
from tidemill.core.ports import Lease
from tidemill.core.progress import no_progress
from tidemill.core.records.ingest import Increment
from tidemill.core.row_ids import REPLACEMENT_NUMBERS, row_id
from tidemill.core.source_read import REFUSED
from tidemill.loop.ingest.arrivals import DayRows, StreamPosition, names_of_held, pending_rows
from tidemill.loop.ingest.ingest_increment import (
    IncrementRows,
    IngestResult,
    ingest_increment,
)
from tidemill.loop.ingest.rebuild_tables import rebuild_changed_tables
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.ingest.stream_sources import replacement_source
from tidemill.loop.online.materialise_online import materialise_online
from tidemill.loop.pipeline.run import stream_named
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores


def accept_hold(
    stores: Stores, graph: ProjectGraph, stream: str, number: int, *, who: str, reason: str
) -> IngestResult:
    """Publish a held increment as it arrived. Lines that the contract refuses stay refused.

    Its rows count as known from the newest publication on, because they were not available before.
    """
    stream_named(graph, stream)
    if not who.strip() or not reason.strip():
        raise UsageError("accepting an increment needs a person and a reason", tip="--by NAME --reason 'why'")
    with stores.leases.take(LAKE) as lease:
        stores.lake.recover(lease)
        held = stores.lake.held(stream, number)
        refused = empty_table(REFUSED) if held.refused is None else held.refused
        rows, unreadable = opened_table(stores.vault, held.rows)
        day = DayRows(held.increment.day, rows, refused)
        about = {"settles": str(number), "how": "accepted", "who": who, "reason": reason}
        if unreadable:  # rows of people whose keys are destroyed
            about["unreadable"] = str(unreadable)
        stores.ledger.append("accept", about=f"stream:{stream}", details={**about, "number": number}, lease=lease)
        return _publish(stores, graph, held.increment, day, lease, about, names_of_held(held.details), accepted=True)


def replace_hold(
    stores: Stores, graph: ProjectGraph, stream: str, number: int, file: Path, *, who: str
) -> IngestResult:
    """Publish the rows of `file` in place of a held increment's, if they pass the checks; else it stays held."""
    declared = stream_named(graph, stream)
    with stores.leases.take(LAKE) as lease:
        stores.lake.recover(lease)
        increment = stores.lake.held(stream, number).increment
        found = pending_rows(
            declared,
            [replacement_source(stores, declared, file)],
            StreamPosition(),
            stores.source_states,
            until=increment.day,
            arrival=from_micros(increment.as_of),
            now=stores.clock.now(),
            backfill=True,
            surrogates=stores.surrogates,
            vault=stores.vault,
        )
        day = next((_numbered(day, number) for day in found.days), None)
        if day is None or not day.rows.num_rows + day.refused.num_rows:
            raise UsageError(f"{file} has no rows up to {increment.day}, the day of increment {number}")
        about = {"settles": str(number), "how": "replaced", "who": who}
        names = {REPLACEMENT_NUMBERS[number]: file.name}
        return _publish(stores, graph, increment, day, lease, about, names, accepted=False)


def _numbered(day: DayRows, number: int) -> DayRows:
    """The day's rows with the numbers of a separate file, so that `_row` stays unique in the stream."""
    shift = row_id(REPLACEMENT_NUMBERS[number], 0)

    def shifted(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.schema.get_field_index(ROW), ROW, pc.add(rows[ROW], shift))

    return DayRows(day.day, shifted(day.rows), shifted(day.refused).cast(day.refused.schema))


def _publish(
    stores: Stores,
    graph: ProjectGraph,
    held: Increment,
    day: DayRows,
    lease: Lease,
    about: dict[str, str],
    names: dict[int, str],
    *,
    accepted: bool,
) -> IngestResult:
    rebuild_changed_tables(stores, graph, lease=lease)
    newest = stores.lake.view().as_of if stores.ledger.last("publish") else held.as_of
    arrival = IncrementRows(
        graph.mill.streams[held.stream],
        held.number,
        day,
        from_micros(held.arrived_at),
        names=names,
        known_at=from_micros(max(newest, held.as_of)),
        replaces_increment=held.number,
    )
    result = ingest_increment(stores, graph, arrival, lease=lease, accepted=accepted, details=about)
    materialise_online(stores, graph, lease, no_progress)
    return result
