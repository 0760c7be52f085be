"""Table build: the derived tables of one publication, computed from its streams and from pinned external tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from typing import Any, TypeAlias

import narwhals as nw
import pyarrow as pa

from tidemill.checks import evaluate
from tidemill.core.clock import to_micros
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.records.ingest import Verdict
from tidemill.lake import PublicationDraft, StagedChange, StreamMerge, TableChange
from tidemill.lake.part_exchange import fit_in_memory
from tidemill.lake.table_draft import Keys
from tidemill.loop.project.declarations import TableDeclaration
from tidemill.loop.project.graph import ProjectGraph, contract_schema, naming_function
from tidemill.loop.project.stores import Stores

Rows: TypeAlias = pa.Table | nw.LazyFrame[Any]


class TableBuild:
    """The tables of one publication during the build."""

    def __init__(self, stores: Stores, graph: ProjectGraph, draft: PublicationDraft) -> None:
        self.stores, self.graph, self.draft = stores, graph, draft
        #: Table -> what this publication adds and removes.
        self.changed: dict[str, StreamMerge | TableChange | StagedChange] = {}
        #: The external tables that have another version than the publication before.
        self.moved = moved_external(graph, draft.external)
        self._read: set[str] = set()
        for name, stream in graph.mill.streams.items():
            draft.declare(name, contract_schema(stream.contract), graph.personal(name))
        for table in graph.order:
            draft.declare(table.name, graph.schemas[table.name], graph.personal(table.name))

    def make(self, table: TableDeclaration, as_of: datetime, history: Sequence[Mapping[str, float]]) -> Verdict:
        """Build a derived table: its touched keys if it declares `by=`, else in full; then check the changed rows."""
        with self._made(table) as rows:
            return evaluate(
                table.name,
                rows,
                self.graph.mill.expectations.get(table.name, []),
                engine=self.stores.engine,
                counts=None,
                as_of=to_micros(as_of),
                event_time=_event_time(self.graph, table.name),
                history=history,
            )

    def make_whole(self, table: TableDeclaration) -> None:
        """Build a derived table in full."""
        with self._exchanged(table, None):
            pass

    def pin_external(self) -> None:
        """Record the versions of the external tables in the publication; call it last, before the draft is published.

        Raises `ExternalVersionGone` if one of them changed while it was read.
        """
        external = self.graph.external
        external.check(self._read, self.stores.engine)
        self.draft.external |= {name: external.pins[name] for name in self.moved | self._read}

    def _input(self, name: str, touched: Keys | None) -> nw.LazyFrame[Any]:
        """An input of a table; with `touched`, only the rows with these keys."""
        if name not in self.graph.mill.external_tables:
            return self.draft.scan(name, touched)
        self._read.add(name)
        frame = self.graph.external.frame(name, self.stores.engine)
        if touched is None:
            return frame
        keys = self.stores.engine.frame(touched) if isinstance(touched, pa.Table) else touched
        return frame.join(keys, on=keys.collect_schema().names(), how="semi")

    def _made(self, table: TableDeclaration) -> AbstractContextManager[Rows]:
        """The rows of a table that are made again, in the table already."""
        if not table.by or self.moved & set(table.inputs):
            return self._exchanged(table, None)
        by = list(table.by)
        parts = [self.changed[name].keys(by) for name in table.inputs if name in self.changed]
        return self._exchanged(table, _distinct_keys(self.stores.engine, parts, by))

    @contextmanager
    def _exchanged(self, table: TableDeclaration, touched: Keys | None) -> Iterator[Rows]:
        """Make the rows of a table, or those of touched keys, and exchange them. Rows that are made of few rows are
        collected; others are evaluated once and stay where they are.
        """
        before = self.draft.rows_read
        frames = {name: self._input(name, touched) for name in table.inputs}
        schema, personal = self.graph.schemas[table.name], self.graph.personal(table.name)
        engine = self.stores.engine
        # of an external table nobody knows how many rows it has
        is_small = fit_in_memory(self.draft.rows_read - before) and not isinstance(touched, nw.LazyFrame)
        is_small = is_small and not set(table.inputs) & set(self.graph.mill.external_tables)
        with ExitStack() as stack:
            with naming_function(f"table {table.name!r}"):
                made = self.graph.evaluate(table, frames)
                if is_small:
                    # the types of the dry run, so that engines with other integer widths agree
                    rows = engine.collect(made).select(schema.names).cast(schema)
                else:
                    kept = stack.enter_context(engine.persist(made.select(*schema.names), schema))
                    rows = None
            if rows is None:
                self.changed[table.name] = self.draft.exchange(
                    table.name, kept, schema, by=table.by, touched=touched, personal=personal
                )
                yield kept.frame
            else:
                self.changed[table.name] = (
                    self.draft.reshape(table.name, rows, personal)
                    if touched is None
                    else self.draft.upsert(table.name, rows, by=table.by, touched=touched, personal=personal)
                )
                yield rows


def moved_external(graph: ProjectGraph, published: Mapping[str, ExternalPin]) -> set[str]:
    """The external tables that tables read and whose version differs from the published one."""
    return graph.external.moved(published) & {name for table in graph.order for name in table.inputs}


def _distinct_keys(engine: Engine, parts: Sequence[Keys], by: Sequence[str]) -> Keys:
    """The distinct keys of all parts; in memory, if all parts are."""
    tables = [part for part in parts if isinstance(part, pa.Table)]
    if len(tables) == len(parts):
        return pa.concat_tables(tables).group_by(by, use_threads=False).aggregate([])
    return nw.concat([engine.frame(part) if isinstance(part, pa.Table) else part for part in parts]).unique()


def _event_time(graph: ProjectGraph, name: str) -> str | None:
    for stream in graph.streams_of(name):
        column = stream.contract.event_time
        if column in graph.schemas[name].names:
            return column
    return None
