"""Dependency graph of a project, derived from function signatures: order, names, cycles and types, checked first."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from tidemill.checks import validate
from tidemill.core.contract.contract import INCREMENT, KNOWN_AT, ROW, Contract, ContractColumn
from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import (
    FunctionFailed,
    GraphCycle,
    GraphError,
    TidemillError,
    TypeMismatch,
    UnknownName,
    nearest,
)
from tidemill.core.kinds import arrow_type
from tidemill.core.library_errors import require_error
from tidemill.core.ports import Engine
from tidemill.core.records.external_pin import ExternalPin
from tidemill.loop.project.code_fingerprint import code_fingerprint
from tidemill.loop.project.declarations import (
    FeatureViewDeclaration,
    OnDemandDeclaration,
    RecommenderDeclaration,
    StreamDeclaration,
    TableDeclaration,
)
from tidemill.loop.project.external_inputs import ExternalInputs, refuse_as_view_input, refuse_personal
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.model_signatures import SignatureSpec, build_signature
from tidemill.loop.project.project import FILE
from tidemill.loop.project.sql_query import SqlQuery

if TYPE_CHECKING:
    from tidemill.loop.project.stores import Stores


def contract_schema(contract: Contract) -> pa.Schema:
    """The Arrow columns of a stream's table: the contract's columns, then the lake's own."""
    own = [(INCREMENT, pa.int64()), (ROW, pa.int64()), (KNOWN_AT, pa.timestamp("us", "UTC"))]
    return pa.schema([*((column.name, arrow_type(column.kind)) for column in contract.columns), *own])


@contextmanager
def naming_function(what: str) -> Iterator[None]:
    """Name the project's function in any error that it raises on rows, because the traceback points into an engine."""
    try:
        yield
    except (TidemillError, OSError, MemoryError):
        raise
    except BaseException as error:  # an engine or the function may raise anything
        require_error(error)
        raise FunctionFailed(
            f"{what}{_line(error)} failed on the rows that arrived: "
            f"{_first_line(error).partition(': [')[0]}",  # values stay out
            tip="correct the function in mill.py and run again: what was published stays, and the run continues",
        ) from error


def _line(error: BaseException) -> str:
    """The line of mill.py in which the function failed, if it is known."""
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).name == FILE]
    return f" ({FILE}, line {lines[-1]})" if lines else ""


@dataclass(frozen=True)
class ColumnRoles:
    """The columns of a table with the roles subject, item and event time."""

    subject: str
    item: str
    time: str


class ProjectGraph:
    """A checked project: its dependencies, order and column types."""

    def __init__(self, mill: Mill, engine: Engine, project: Path, external: ExternalInputs | None = None) -> None:
        self.mill = mill
        self.engine = engine
        self.project = project
        #: The external tables, at pinned versions.
        self.external = external or ExternalInputs(mill.external_tables, project)
        self._refuse_unknown_names()
        #: Tables in build order.
        self.order: list[TableDeclaration] = [mill.tables[name] for name in self._sorted()]
        self._derive()

    @classmethod
    def of_project(cls, mill: Mill, stores: Stores) -> ProjectGraph:
        """The graph of an opened project."""
        return cls(mill, stores.engine, stores.project, ExternalInputs.of_project(stores, mill.external_tables))

    def pin_external(self) -> None:
        """Pin the current version of every external table, and check the graph again if columns have changed."""
        if self.external.take(self.engine):
            self._derive()

    def keep_external(self, pins: Mapping[str, ExternalPin]) -> None:
        """Read external tables at these versions, such as the published ones, instead of the current ones."""
        has_changed = any(pin.columns != self.external.pins[name].columns for name, pin in pins.items())
        self.external.pins.update(pins)
        if has_changed:
            self._derive()

    def _derive(self) -> None:
        mill, project = self.mill, self.project
        #: Columns of every stream, external table, table and feature view.
        self.schemas: dict[str, pa.Schema] = self._dry_run()
        refuse_personal(self.external.pins, mill.streams.values())
        self._check_features()
        self._check_expectations()
        self._check_recommenders()
        #: Model that predicts from a row -> its signature.
        self.askings: dict[str, SignatureSpec] = {
            name: build_signature(self, model) for name, model in mill.row_models.items()
        }
        self.codes: dict[str, str] = {
            node.name: code_fingerprint(node.function, project) + ":" + _declared(node)
            for node in (*self._made(mill), *mill.on_demands.values())
        }

    def evaluate(
        self, node: TableDeclaration | FeatureViewDeclaration, frames: Mapping[str, nw.LazyFrame[Any]]
    ) -> nw.LazyFrame[Any]:
        """The result of a node's function, or of its query, for its inputs by name."""
        if isinstance(node.function, SqlQuery):
            return self.engine.sql(node.function.text, frames)
        if isinstance(node, TableDeclaration) and node.engine:
            native = node.function(**{name: frame.to_native() for name, frame in frames.items()})
            made: nw.LazyFrame[Any] = nw.from_native(native)
            return made
        result: nw.LazyFrame[Any] = node.function(**frames)
        return result

    def downstream(self, changed: Iterable[str]) -> list[TableDeclaration]:
        """The tables to rebuild after `changed` have changed, in order."""
        touched = set(changed)
        found = []
        for table in self.order:
            if touched & set(table.inputs):
                touched.add(table.name)
                found.append(table)
        return found

    def streams_of(self, name: str) -> list[StreamDeclaration]:
        """The streams that a table is derived from, directly or indirectly."""
        if name in self.mill.streams:
            return [self.mill.streams[name]]
        if name in self.mill.external_tables:
            return []
        node = self.mill.tables.get(name) or self.mill.features_views[name]
        found: dict[str, StreamDeclaration] = {}
        for parent in node.inputs:
            found.update((stream.name, stream) for stream in self.streams_of(parent))
        return list(found.values())

    def fed_models(self, stream: str) -> tuple[str, ...]:
        """The recommenders whose interactions come from a stream, directly or through tables."""
        return tuple(
            model.name
            for model in self.mill.recommenders.values()
            if stream in {one.name for one in self.streams_of(model.interactions)}
        )

    def personal(self, name: str) -> list[str]:
        """The columns of a table that contain people's surrogates."""
        subjects = {column for stream in self.streams_of(name) for column in stream.contract.role("subject")}
        return [column for column in self.schemas[name].names if column in subjects]

    def column(self, table: str, name: str) -> ContractColumn | None:
        """The upstream contract's column, for a column that keeps its name."""
        for stream in self.streams_of(table):
            if name in stream.contract.names:
                return stream.contract[name]
        return None

    def recommender(self, name: str) -> RecommenderDeclaration:
        """The recommender of that name, or an error with the nearest name."""
        if name not in self.mill.recommenders:
            raise UnknownName(f"no model {name!r}", tip=nearest(name, self.mill.recommenders))
        return self.mill.recommenders[name]

    def roles(self, recommender: RecommenderDeclaration) -> ColumnRoles:
        """The subject, item and time columns of a recommender's interactions."""
        table = recommender.interactions
        found = {}
        for role in ("subject", "item", "event_time"):
            names = [
                column
                for column in self.schemas[table].names
                if (about := self.column(table, column)) is not None and about.role == role
            ]
            if len(names) != 1:
                raise TypeMismatch(
                    f"recommender {recommender.name!r}: its interactions {table!r} have {len(names)} {role} columns",
                    tip="exactly one column of each of subject, item and event_time has to keep its name",
                )
            found[role] = names[0]
        return ColumnRoles(found["subject"], found["item"], found["event_time"])

    @staticmethod
    def _made(mill: Mill) -> list[TableDeclaration | FeatureViewDeclaration]:
        return [*mill.tables.values(), *mill.features_views.values()]

    def _refuse_unknown_names(self) -> None:
        for table in self.mill.tables.values():
            if table.engine not in ("", self.engine.name):
                raise GraphError(
                    f"table {table.name!r} is a function of Py{table.engine.capitalize()}, and the engine is "
                    f"{self.engine.name}",
                    tip=f'set engine = "{table.engine}" in tidemill.toml, or write the function in Narwhals',
                )
        known = {*self.mill.streams, *self.mill.external_tables, *self.mill.tables}
        for node in self._made(self.mill):
            for name in node.inputs:
                if name not in known:
                    raise UnknownName(
                        f"{node.name}({name}): there is no stream or table {name!r}", tip=nearest(name, known)
                    )
                if name in self.mill.external_tables and isinstance(node, FeatureViewDeclaration):
                    raise refuse_as_view_input(node.name, name)

    def _sorted(self) -> list[str]:
        done: list[str] = []
        path: list[str] = []

        def visit(name: str) -> None:
            if name in done or name in self.mill.streams or name in self.mill.external_tables:
                return
            if name in path:
                cycle = " → ".join([*path[path.index(name) :], name])
                raise GraphCycle(
                    f"tables depend on each other in a cycle: {cycle}", tip="remove one of these dependencies"
                )
            path.append(name)
            for parent in self.mill.tables[name].inputs:
                visit(parent)
            path.pop()
            done.append(name)

        for name in self.mill.tables:
            visit(name)
        return done

    def _dry_run(self) -> dict[str, pa.Schema]:
        """Run every function on empty tables, to get its columns and types before any row is read."""
        schemas = {name: contract_schema(stream.contract) for name, stream in self.mill.streams.items()}
        schemas |= self.external.schemas({name for table in self.order for name in table.inputs}, self.engine)
        nodes: list[TableDeclaration | FeatureViewDeclaration] = [*self.order, *self.mill.features_views.values()]
        for node in nodes:
            frames = {name: self.engine.frame(empty_table(schemas[name])) for name in node.inputs}
            schemas[node.name] = self._columns(node, frames, schemas)
        for table in self.order:
            self._check_by(table, schemas)
        return schemas

    def _columns(
        self,
        node: TableDeclaration | FeatureViewDeclaration,
        frames: Mapping[str, nw.LazyFrame[Any]],
        schemas: Mapping[str, pa.Schema],
    ) -> pa.Schema:
        known = sorted({column for name in node.inputs for column in schemas[name].names})
        try:
            result = self.evaluate(node, frames)
            if not hasattr(result, "collect_schema"):
                raise TypeMismatch(
                    f"{node.name} returns a {type(result).__name__}",
                    tip="return a frame made from the function's parameters",
                )
            return self.engine.collect(result).schema
        except TidemillError:
            raise
        except BaseException as error:  # an engine's expression may raise anything on unsuitable columns
            require_error(error)
            wrong = _missing_column(str(error), known)
            if wrong:
                raise UnknownName(f"{node.name}: no column {wrong!r}", tip=nearest(wrong, known)) from error
            raise TypeMismatch(f"{node.name}: {_first_line(error)}", tip=f"columns: {', '.join(known)}") from error

    def _check_by(self, table: TableDeclaration, schemas: Mapping[str, pa.Schema]) -> None:
        for column in table.by:
            for place in (table.name, *table.inputs):
                if column not in schemas[place].names:
                    raise TypeMismatch(
                        f"table {table.name!r} declares by={list(table.by)}, but {place!r} has no column {column!r}",
                        tip=f"{nearest(column, schemas[place].names)}; or leave `by=` out",
                    )
                kind, built_kind = schemas[place].field(column).type, schemas[table.name].field(column).type
                if kind != built_kind:
                    raise TypeMismatch(
                        f"table {table.name!r} declares by={list(table.by)}, but {column!r} is {kind} in {place!r} "
                        f"and {built_kind} in {table.name!r}",
                        tip="keep the column as it is and add another, or leave `by=` out",
                    )

    def _check_features(self) -> None:
        for view in self.mill.features_views.values():
            if view.entity not in self.schemas[view.name].names:
                raise UnknownName(
                    f"features {view.name!r}: its entity {view.entity!r} is not among its columns",
                    tip=nearest(view.entity, self.schemas[view.name].names),
                )
            for table in view.inputs if view.window_us is not None and view.known == "known" else ():
                if KNOWN_AT not in self.schemas[table].names:
                    raise GraphError(
                        f"features {view.name!r} use what was known at each boundary, but {table!r} drops `{KNOWN_AT}`",
                        tip=f'keep `{KNOWN_AT}` in {table!r}, or write @mill.features(…, known="event")',
                    )

    def _check_expectations(self) -> None:
        for name, expectations in self.mill.expectations.items():
            if name not in self.schemas:
                raise UnknownName(
                    f"check({name}): there is no stream, table or feature view {name!r}",
                    tip=nearest(name, self.schemas),
                )
            for expectation in expectations:
                validate(expectation, self.schemas[name])

    def item_views(self, recommender: RecommenderDeclaration) -> dict[str, list[str]]:
        """The feature views of items that a slate may use, with their columns."""
        item = self.roles(recommender).item
        views = [self.mill.features_views[name] for name in recommender.features]
        return {
            view.name: [column for column in self.schemas[view.name].names if column != item]
            for view in views
            if view.entity == item
        }

    def _check_recommenders(self) -> None:
        for model in self.mill.recommenders.values():
            for view in model.features:
                if view not in self.mill.features_views:
                    raise UnknownName(f"recommender {model.name!r}: no view {view!r}", tip=nearest(view, self.schemas))
            model.slate.check(model.learn.parts())
            model.slate.rules(self.item_views(model))


def _declared(node: TableDeclaration | FeatureViewDeclaration | OnDemandDeclaration) -> str:
    """The declared options of a node, besides its function, that affect its output."""
    if isinstance(node, FeatureViewDeclaration):
        options = (node.entity, node.window_us, node.every_us, node.ttl_us, node.known)
        return "" if options[1:] == (None, None, None, "known") else ",".join(map(str, options))
    return ",".join([*node.by, *filter(None, [node.engine])]) if isinstance(node, TableDeclaration) else ""


def _missing_column(text: str, known: list[str]) -> str | None:
    """The missing column named in an engine's message, if any."""
    for quoted in re.findall(r"[`'\"]([A-Za-z_]\w*)[`'\"]", text):
        if quoted not in known:
            return str(quoted)
    match = re.search(r"(?:not found|unable to find column):?\s*\[?[`'\"]?([A-Za-z_]\w*)", text, re.IGNORECASE)
    return match[1] if match and match[1] not in known else None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
