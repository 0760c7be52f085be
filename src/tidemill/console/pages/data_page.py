"""Data page as data: the published tables with their size, newest data and held increments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidemill.console.formatting import counted, through
from tidemill.console.pages.loop_page import model_names
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.core.clock import to_micros
from tidemill.core.errors import NotPublished
from tidemill.core.record_format import Record
from tidemill.features.table_profile import table_size
from tidemill.loop.online.feature_metadata_files import declared_features
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ProjectedState


class TableRow(Record, frozen=True):
    """One table in the list."""

    name: str
    #: Whether it has a stream's rows; and the tables that it is derived from.
    is_stream: bool
    inputs: tuple[str, ...]
    personal: bool
    rows: int
    columns: int
    size_bytes: int
    version: int
    #: As-of and time of the publication that changed it last.
    as_of: int
    at: int
    held: int


class ExternalRow(Record, frozen=True):
    """One table of another system, at the version that the tables were computed from."""

    name: str
    kind: str
    #: Its URL without secrets, and its version in words.
    place: str
    version: str
    columns: int
    #: The tables that read it.
    tables: tuple[str, ...]


class DataPage(Record, frozen=True):
    """All data of the Data page."""

    mill: str
    now: int
    models: tuple[str, ...]
    headline: str
    lead: str
    tables: tuple[TableRow, ...]
    external: tuple[ExternalRow, ...]
    commands: tuple[ActionCommand, ...]
    #: The reason why the ledger could not be read, if so.
    unread: str | None


def data_page(stores: ConsoleStores, projection: LedgerProjection) -> DataPage:
    """Build the page; it reads no data."""
    projected = projection.catch_up()
    tables = _tables(stores, projected)
    held = sum(one.held for one in tables)
    run = ActionCommand(text="tidemill run", does="ingest the next increment")
    return DataPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=tuple(model_names(stores, projected)),
        headline=_headline(tables, held),
        lead=_lead(projected, tables),
        tables=tuple(tables),
        external=tuple(_external(projected, tables)),
        commands=(run,) if not held else (ActionCommand(text="tidemill status", does="show what is held and why"),),
        unread=projection.problem,
    )


def _tables(stores: ConsoleStores, projected: ProjectedState) -> list[TableRow]:
    try:
        view = stores.snapshot(None)
    except NotPublished:
        return []
    declared = declared_features(stores.serving_root)
    rows = []
    for name in sorted(view.versions):
        about, size = declared.table(name), table_size(view, name)
        stream, versions = projected.streams.get(name), projected.tables.get(name)
        rows.append(
            TableRow(
                name=name,
                is_stream=about.is_stream if about else stream is not None,
                inputs=about.inputs if about else (),
                personal=bool(about and about.personal),
                rows=size.rows,
                columns=len(size.names),
                size_bytes=size.size_bytes,
                version=size.version,
                as_of=versions[-1].as_of if versions else view.as_of,
                at=versions[-1].at if versions else 0,
                held=len(stream.held) if stream else 0,
            )
        )
    return sorted(rows, key=lambda one: (not one.is_stream, one.name))


def _external(projected: ProjectedState, tables: Sequence[TableRow]) -> Iterator[ExternalRow]:
    for name, pin in sorted(projected.publication.external.items() if projected.publication else ()):
        readers = tuple(table.name for table in tables if name in table.inputs)
        yield ExternalRow(
            name=name, kind=pin.kind, place=pin.place, version=pin.says, columns=len(pin.columns), tables=readers
        )


def _headline(tables: Sequence[TableRow], held: int) -> str:
    if not tables:
        return "Nothing published yet."
    if held:
        return f"{counted(held, 'increment is', 'increments are')} held."
    return f"{counted(len(tables), 'table')}, nothing held."


def _lead(projected: ProjectedState, tables: Sequence[TableRow]) -> str:
    if not tables or projected.publication is None:
        return "A run ingests rows, checks them, and publishes all tables together."
    return (
        f"{counted(sum(one.rows for one in tables), 'row')} as of publication {projected.publication.number:,}, "
        f"data through {through(projected.as_of)}."
    )
