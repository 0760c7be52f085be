"""Settle a held increment: a named person accepts it with a reason, or a corrected file replaces it. Once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import UsageError
from tidemill.core.lease import LAKE
from tidemill.core.ports import Lease
from tidemill.core.records import Increment
from tidemill.core.row_ids import REPLACEMENT_NUMBERS, row_id
from tidemill.core.schema import ROW
from tidemill.core.source_read import REFUSED
from tidemill.loop.arrivals import Day, Progress, arrivals, names_of_held
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.increment import Arrival, Brought, bring_in, rebuild_changed
from tidemill.loop.origins import replacement
from tidemill.loop.refresh import refresh
from tidemill.loop.run import silent, stream_named
from tidemill.loop.sealed_table import opened_table


def accept(house: House, graph: Graph, stream: str, number: int, *, who: str, reason: str) -> Brought:
    """Publish a held increment as it arrived. What the contract refuses stays refused.

    Its rows count as known from the newest publication on: before, nobody had them.
    """
    stream_named(graph, stream)
    if not who.strip() or not reason.strip():
        raise UsageError("an increment is accepted by a person, with a reason", tip="--by NAME --reason 'why'")
    with house.leases.take(LAKE) as lease:
        house.lake.recover(lease)
        held = house.lake.held(stream, number)
        refused = empty_table(REFUSED) if held.refused is None else held.refused
        rows, unreadable = opened_table(house.vault, held.rows)
        day = Day(held.increment.day, rows, refused)
        about = {"settles": str(number), "how": "accepted", "who": who, "reason": reason}
        if unreadable:  # of people whose keys are destroyed
            about["unreadable"] = str(unreadable)
        house.ledger.append("accept", about=f"stream:{stream}", details={**about, "number": number}, lease=lease)
        return _publish(house, graph, held.increment, day, lease, about, names_of_held(held.details), accepted=True)


def replace(house: House, graph: Graph, stream: str, number: int, file: Path, *, who: str) -> Brought:
    """Publish the rows of `file` in place of a held increment's, if they pass the checks; if not, it stays held."""
    declared = stream_named(graph, stream)
    with house.leases.take(LAKE) as lease:
        house.lake.recover(lease)
        increment = house.lake.held(stream, number).increment
        found = arrivals(
            declared,
            [replacement(house, declared, file)],
            Progress(),
            house.source_states,
            until=increment.day,
            arrival=from_micros(increment.as_of),
            now=house.clock.now(),
            backfill=True,
            surrogates=house.surrogates,
            vault=house.vault,
        )
        day = next((_numbered(day, number) for day in found.days), None)
        if day is None or not day.rows.num_rows + day.refused.num_rows:
            raise UsageError(f"{file} has no rows up to {increment.day}, the day of increment {number}")
        about = {"settles": str(number), "how": "replaced", "who": who}
        names = {REPLACEMENT_NUMBERS[number]: file.name}
        return _publish(house, graph, increment, day, lease, about, names, accepted=False)


def _numbered(day: Day, number: int) -> Day:
    """The day's rows numbered as those of a file of its own, so that `_row` stays unique in the stream."""
    shift = row_id(REPLACEMENT_NUMBERS[number], 0)

    def shifted(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.schema.get_field_index(ROW), ROW, pc.add(rows[ROW], shift))

    return Day(day.day, shifted(day.rows), shifted(day.refused).cast(day.refused.schema))


def _publish(
    house: House,
    graph: Graph,
    held: Increment,
    day: Day,
    lease: Lease,
    about: dict[str, str],
    names: dict[int, str],
    *,
    accepted: bool,
) -> Brought:
    rebuild_changed(house, graph, lease=lease)
    newest = house.lake.view().as_of if house.ledger.last("publish") else held.as_of
    arrival = Arrival(
        graph.mill.streams[held.stream],
        held.number,
        day,
        from_micros(held.arrived_at),
        names=names,
        known_at=from_micros(max(newest, held.as_of)),
        replaces_increment=held.number,
    )
    brought = bring_in(house, graph, arrival, lease=lease, accepted=accepted, details=about)
    refresh(house, graph, lease, silent)
    return brought
