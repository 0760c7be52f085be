"""State of a feature view: its rows, their age compared with the TTL, and required actions.

Reading all rows of a large view is slow, so its statistics are cached until the rows change.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tidemill.console.formatting import counted, share, span
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.core.clock import to_micros
from tidemill.core.record_format import Record
from tidemill.features.column_statistics import ColumnStatistics
from tidemill.features.freshness import ViewFreshness, view_freshness
from tidemill.features.value_intervals import AT
from tidemill.loop.online.feature_metadata_files import DeclaredView
from tidemill.loop.online.view_rows import online_figures, online_rows
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import ProjectedState
from tidemill.serving.live.server_clock import replayed

#: Share of missing values from which on a column needs attention.
MISSING = 0.5
#: `broken`: lookups return nothing; `decide`: a person should check it; `hint`: it can wait; `well`: fresh.
Weight = Literal["broken", "decide", "hint", "well"]


class ViewState(Record, frozen=True):
    """One feature view as declared and as online."""

    name: str
    entity: str
    #: Whether the entity is a person.
    personal: bool
    #: `rows`, or a window and the distance between its boundaries.
    kind: str
    ttl_us: int | None
    owner: str
    description: str
    consumers: tuple[str, ...]
    rows: int
    #: When it was last written and from which publication; `None` if never.
    made_at: int | None
    publication: int | None
    #: Age of its newest value at `now` (microseconds), and the shares of expired entities and of missing values.
    age_us: int | None
    expired: float
    missing: float
    weight: Weight
    #: Findings as sentences, and commands to type.
    says: tuple[str, ...]
    commands: tuple[ActionCommand, ...]


@dataclass(frozen=True)
class ViewMeasurement:
    """Event times and column statistics of a view's rows."""

    at: pa.Table
    columns: tuple[ColumnStatistics, ...]


class ViewMeasurements:
    """Cached statistics of the views of one console."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[str | None, int], DeclaredView, ViewMeasurement]] = {}
        self._lock = threading.Lock()

    def measure(self, stores: ConsoleStores, view: DeclaredView) -> ViewMeasurement:
        """The columns of a view, and the event times of its rows."""
        if stores.latest is None:
            return ViewMeasurement(pa.table({}), ())
        with self._lock:
            mark = stores.latest.version(view.name), stores.latest.marks([view.name])[0]
            known = self._known.get(view.name)
            if known is None or known[:2] != (mark, view):
                rows = online_rows(stores.latest, view)
                times = rows.select([AT]) if AT in rows.column_names else rows.select(rows.column_names[:1])
                known = mark, view, ViewMeasurement(times, online_figures(rows, view))
                self._known[view.name] = known
            return known[2]


def view_state(
    stores: ConsoleStores, projected: ProjectedState, view: DeclaredView, measured: ViewMeasurement
) -> ViewState:
    """Declaration and measurements together, as of the server's clock: the replayed instant, else now."""
    now = to_micros(replayed(stores.serving_root) or stores.clock.now())
    age = view_freshness(measured.at, ttl_us=view.ttl_us, now=now)
    made = projected.made.get(view.name)
    last = made[-1] if made else None
    missing = sum(one.missing for one in measured.columns) / len(measured.columns) if measured.columns else 0.0
    weight, says, commands = _needs(projected, view, age, measured.columns, bool(made))
    return ViewState(
        name=view.name,
        entity=view.entity,
        personal=view.personal,
        kind=view.kind,
        ttl_us=view.ttl_us,
        owner=view.owner,
        description=view.description,
        consumers=view.consumers,
        rows=age.rows,
        made_at=last.at if last else None,
        publication=last.details["publication"] if last else None,
        age_us=age.age_us,
        expired=age.expired,
        missing=missing,
        weight=weight,
        says=tuple(says),
        commands=tuple(commands),
    )


def _needs(
    projected: ProjectedState,
    view: DeclaredView,
    age: ViewFreshness,
    columns: tuple[ColumnStatistics, ...],
    materialised: bool,
) -> tuple[Weight, list[str], list[ActionCommand]]:
    """Weight, findings and commands of a view, most urgent first."""
    run = ActionCommand(text="tidemill run", does="ingest new data and rebuild the views")
    if not materialised:
        return "broken", ["Never materialised: lookups return nothing."], [run]
    if not age.rows:
        return "broken", ["It has no rows: lookups return nothing."], [run]
    says: list[str] = []
    if age.expired == 1:
        says.append(f"All values are older than {span(view.ttl_us or 0)} and count as missing.")
    elif age.expired >= 0.005:
        says.append(f"{share(age.expired)} of its values are older than {span(view.ttl_us or 0)} and count as missing.")
    empty = [one for one in columns if one.missing >= MISSING]
    if empty:
        worst = max(empty, key=lambda one: one.missing)
        more = f"; so is half or more of {counted(len(empty) - 1, 'other column')}" if len(empty) > 1 else ""
        says.append(f"{share(worst.missing)} of {worst.name} is missing{more}.")
    if says:
        return "decide", says, [run] if age.expired >= 0.005 else []
    hints = []
    if not view.owner:
        hints.append("No owner: set one in mill.py.")
    if not view.consumers:
        hints.append("No model uses it.")
    return ("hint", hints, []) if hints else ("well", [], [])
