"""Table page as data: newest rows, profile of each column, rows over time and versions of a table."""

from __future__ import annotations

from tidemill.console.formatting import counted, through
from tidemill.console.pages.loop_page import model_names
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.table_state import COLUMNS, Arrivals, TableProfiles, VersionRows, arrivals
from tidemill.core.clock import to_micros
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.record_format import Record
from tidemill.features.table_profile import TableProfile, table_size
from tidemill.loop.online.feature_metadata_files import DeclaredTable, declared_features
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection


class TablePage(Record, frozen=True):
    """All data of the page of one table."""

    mill: str
    now: int
    models: tuple[str, ...]
    headline: str
    lead: str
    #: `None` if the last run did not declare it.
    about: DeclaredTable | None
    profile: TableProfile
    #: The place of the first profiled column, from 0; the places at which pages of columns begin, if there are more.
    first: int
    parts: tuple[int, ...]
    #: Rows of each increment of a stream; `None` for derived tables.
    arrivals: Arrivals | None
    #: Held increments of the stream.
    held: int
    #: Versions of a derived table at equal distances, oldest first; and the number of all.
    versions: tuple[VersionRows, ...]
    n_versions: int
    commands: tuple[ActionCommand, ...]
    unread: str | None


def table_page(
    stores: ConsoleStores,
    projection: LedgerProjection,
    name: str,
    first: int = 0,
    profiles: TableProfiles | None = None,
) -> TablePage:
    """The page of one table, with its columns from place `first` on. Raises `NotPublished` before the first
    publication, and `UnknownName` with the nearest name.
    """
    projected, known = projection.catch_up(), profiles or TableProfiles()
    view = stores.snapshot(None)
    if name not in view:
        raise UnknownName(f"there is no table {name!r}; {nearest(name, view.versions)}", tip="the Data page lists them")
    about = declared_features(stores.serving_root).table(name)
    names = table_size(view, name).names
    starts = tuple(range(0, len(names), COLUMNS))
    first = first if first in starts else 0
    profile = known.profile(view, name, about, names[first : first + COLUMNS])
    stream = projected.streams.get(name)
    versions = () if stream else projected.tables.get(name, ())
    return TablePage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=tuple(model_names(stores, projected)),
        headline=f"{name} has {counted(profile.size.rows, 'row')}.",
        lead=_lead(profile, about, view.as_of),
        about=about,
        profile=profile,
        first=first,
        parts=starts if len(starts) > 1 else (),
        arrivals=arrivals(stream) if stream else None,
        held=len(stream.held) if stream else 0,
        versions=known.versions(stores, name, versions),
        n_versions=len(versions),
        commands=_commands(name, bool(stream)),
        unread=projection.problem,
    )


def _lead(profile: TableProfile, about: DeclaredTable | None, as_of: int) -> str:
    size = profile.size
    if about is None:
        origin = "Table"
    elif about.is_stream:
        origin = f"Stream, one row per {', '.join(about.key)}" if about.key and about.key != ("_row",) else "Stream"
    else:
        origin = f"Derived from {', '.join(about.inputs)}"
    columns = counted(len(size.names), "column")
    return f"{origin}. {columns}, publication {size.publication:,}, data through {through(as_of)}."


def _commands(name: str, is_stream: bool) -> tuple[ActionCommand, ...]:
    found = [ActionCommand(text=f"tidemill table {name}", does="show the same in a terminal")]
    if is_stream:
        found.append(ActionCommand(text=f"tidemill check {name}", does="show the validation results of its increments"))
    return tuple(found)
