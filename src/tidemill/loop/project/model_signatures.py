"""Model signatures: the request, lookups, functions and inputs of a tabular model, from names and types alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.core.contract.contract import KNOWN_AT, SYSTEM_COLUMNS, ContractColumn
from tidemill.core.errors import GraphError, TidemillError, TypeMismatch, UnknownName, nearest
from tidemill.core.kinds import Kind, kind_of_arrow, kind_of_dtype
from tidemill.core.library_errors import require_error
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature
from tidemill.loop.project.declarations import (
    FeatureViewDeclaration,
    OnDemandDeclaration,
    StreamDeclaration,
    TabularDeclaration,
)
from tidemill.loop.project.mill import Mill
from tidemill.models.formats.pretrained import PretrainedGraph
from tidemill.models.formats.source_modules import SourceModule, shipped_function
from tidemill.models.tabular.on_demand_arrays import DTYPES, FOLDER
from tidemill.models.tabular.row_model import RowModel


class ExampleTableColumns(Protocol):
    """The part of a project's graph from which signatures are derived."""

    mill: Mill
    #: Columns of every stream, table and feature view.
    schemas: dict[str, pa.Schema]

    def streams_of(self, name: str) -> list[StreamDeclaration]:
        """The streams that a table is derived from."""
        ...

    def personal(self, name: str) -> list[str]:
        """The columns of a table that contain people's surrogates."""
        ...

    def column(self, table: str, name: str) -> ContractColumn | None:
        """The upstream contract's column, for a column that keeps its name."""
        ...


@dataclass(frozen=True)
class ExampleColumns:
    """The roles and kinds of the columns of a model's examples."""

    #: The event time, `None` if the examples have none.
    time: str | None
    subjects: tuple[str, ...]
    #: Every column that a model may use, by name.
    kinds: dict[str, Kind]


@dataclass(frozen=True)
class SignatureSpec:
    """A model's signature as far as it is known before training, and its sources."""

    model: TabularDeclaration
    columns: ExampleColumns
    request: tuple[InputField, ...]
    inputs: tuple[InputField, ...]
    lookups: tuple[FeatureLookup, ...]
    computed: tuple[OnDemandFeature, ...]
    #: Path -> source of the modules of on-demand features.
    modules: dict[str, bytes]
    #: Name in those sources -> the pre-trained model that is copied into the bundle.
    pretrained: dict[str, PretrainedGraph]

    def signature(self, learned: RowModel) -> Signature:
        """The signature of a trained model; a request must contain those of its inputs that are not optional."""
        needed = {field.name for field in learned.inputs if not field.optional}
        return Signature(
            task=learned.task,
            target=self.model.target,
            request=_required(self.request, needed),
            inputs=_required(self.inputs, needed),
            outputs=learned.outputs,
            lookups=self.lookups,
            computed=self.computed,
            classes=learned.classes,
        )


def _required(fields: Sequence[InputField], needed: Collection[str]) -> tuple[InputField, ...]:
    return tuple(msgspec.structs.replace(field, optional=False) if field.name in needed else field for field in fields)


def build_signature(graph: ExampleTableColumns, model: TabularDeclaration) -> SignatureSpec:
    """The signature of `model`; raises a `GraphError` for a name or a type that does not fit, and `OriginMissing` if
    a pre-trained model differs from the hash in its card.
    """
    if isinstance(model.learn, PretrainedGraph):
        _ = model.learn.raw
    columns = example_columns(graph, model)
    plain = _plain_inputs(graph, model, columns)
    known = dict(plain)  # name -> field, for everything that a function may use
    lookups, found = _lookups(graph, model, columns, set(plain))
    known |= found
    for name, kind in columns.kinds.items():
        known.setdefault(name, _field(graph, model, name, kind))
    computed, shipped, made = _computed(graph, model, known)
    taken = {name for one in computed for name in one.takes}
    request = [
        _field(graph, model, name, kind, time=columns.time, subjects=columns.subjects)
        for name, kind in columns.kinds.items()
        if name in plain or name in taken or name in {one.entity for one in lookups} or name == columns.time
    ]
    inputs = (*plain.values(), *found.values(), *made)
    if not inputs:
        raise GraphError(f"model {model.name!r} has no input", tip="name `inputs=` or `features=`")
    modules = {one.path: one.source.encode() for one in shipped}
    return SignatureSpec(model, columns, tuple(request), inputs, lookups, computed, modules, _pretrained(shipped))


def _pretrained(shipped: Sequence[SourceModule]) -> dict[str, PretrainedGraph]:
    """All pre-trained models of a model's functions; each name is one folder of the bundle."""
    found: dict[str, PretrainedGraph] = {}
    for one in shipped:
        for name, pretrained in one.pretrained.items():
            if repr(found.setdefault(name, pretrained)) != repr(pretrained):
                raise GraphError(
                    f"{one.path}: {name!r} is {pretrained!r} here, but {found[name]!r} in another file",
                    tip="rename one of them",
                )
    return found


def example_columns(graph: ExampleTableColumns, model: TabularDeclaration) -> ExampleColumns:
    """The columns of the examples by role and kind; the target must be one of them."""
    if model.examples not in graph.schemas:
        raise UnknownName(f"model {model.name!r}: there is no stream, table or feature view {model.examples!r}")
    schema = graph.schemas[model.examples]
    names = [name for name in schema.names if name not in SYSTEM_COLUMNS]
    for what, column in _asked(model):
        if column not in names:
            raise UnknownName(
                f"model {model.name!r}: {what} {column!r} is not a column of {model.examples!r}",
                tip=nearest(column, names),
            )
    kinds = {name: kind for name in names if (kind := kind_of_arrow(schema.field(name).type)) is not None}
    if model.target not in kinds:
        raise TypeMismatch(
            f"model {model.name!r}: the target {model.target!r} has the type {schema.field(model.target).type}, "
            "which fits no task"
        )
    times = [stream.contract.event_time for stream in graph.streams_of(model.examples)]
    time = next((name for name in times if kinds.get(name) == "time"), None)
    return ExampleColumns(time, tuple(graph.personal(model.examples)), kinds)


def _asked(model: TabularDeclaration) -> list[tuple[str, str]]:
    found = [("the target", model.target)]
    found += [("the input", name) for name in model.inputs or ()]
    found += [("the slice", name) for name in model.slices]
    found += [("the attribute", name) for name in model.fairness]
    return found + ([("the group", model.group)] if model.group else [])


def _plain_inputs(
    graph: ExampleTableColumns, model: TabularDeclaration, columns: ExampleColumns
) -> dict[str, InputField]:
    """The inputs that are request columns."""
    if model.inputs is None:
        out = {model.target, model.group, *columns.subjects}
        chosen = [name for name, kind in columns.kinds.items() if kind != "time" and name not in out]
    else:
        chosen = list(model.inputs)
    for name in chosen:
        if name == model.target:
            raise GraphError(f"model {model.name!r}: its target {name!r} is among its inputs", tip="leave it out")
        if name in columns.subjects:
            raise GraphError(
                f"model {model.name!r}: {name!r} identifies a person and cannot be an input",
                tip="use features of that person: a feature view with this entity",
            )
        if name not in columns.kinds:
            raise TypeMismatch(f"model {model.name!r}: the input {name!r} is not a number, text, flag or time")
    return {name: _field(graph, model, name, columns.kinds[name]) for name in chosen}


def _field(
    graph: ExampleTableColumns,
    model: TabularDeclaration,
    name: str,
    kind: Kind,
    *,
    time: str | None = None,
    subjects: Sequence[str] = (),
) -> InputField:
    about = graph.column(model.examples, name)
    role: Any = "subject" if name in subjects else "event_time" if name == time else None
    optional = about is None or about.optional or role == "event_time"
    return InputField(name=name, kind=kind, optional=optional, unit=about.unit if about else None, role=role)


def _lookups(
    graph: ExampleTableColumns, model: TabularDeclaration, columns: ExampleColumns, taken: set[str]
) -> tuple[tuple[FeatureLookup, ...], dict[str, InputField]]:
    """The views that are looked up by an entity of the examples, and their fields."""
    lookups, fields = [], {}
    for name in model.features:
        view = graph.mill.features_views[name]
        if view.entity not in columns.kinds:
            raise UnknownName(
                f"model {model.name!r}: its examples {model.examples!r} have no column {view.entity!r}, the "
                f"entity of the view {name!r}",
                tip=nearest(view.entity, columns.kinds),
            )
        if columns.time is None:
            raise TypeMismatch(
                f"model {model.name!r}: its examples {model.examples!r} have no event time, so that {name!r} cannot be "
                "joined as of it",
                tip="keep the event time of the stream in the table",
            )
        if view.every_us is None and view.known == "known" and KNOWN_AT not in graph.schemas[name].names:
            raise GraphError(
                f"model {model.name!r}: the view {name!r} drops `{KNOWN_AT}`: when its rows were known is unknown",
                tip=f'keep `{KNOWN_AT}` in what it returns, or write @mill.features(…, known="event")',
            )
        given = {}
        for column, kind in view_columns(graph, view).items():
            called = column if column not in taken and column not in columns.kinds else f"{name}.{column}"
            given[called] = column
            fields[called] = InputField(name=called, kind=kind)
            taken.add(called)
        lookups.append(FeatureLookup(view=name, entity=view.entity, columns=given, ttl_us=view.ttl_us))
    return tuple(lookups), fields


def view_columns(graph: ExampleTableColumns, view: FeatureViewDeclaration) -> dict[str, Kind]:
    """The columns of a view that a model may read: without its entity, times and people."""
    times = {stream.contract.event_time for stream in graph.streams_of(view.name)}
    out = {view.entity, *times, *SYSTEM_COLUMNS, *graph.personal(view.name)}
    schema = graph.schemas[view.name]
    found = {name: kind_of_arrow(schema.field(name).type) for name in schema.names if name not in out}
    return {name: kind for name, kind in found.items() if kind is not None}


def _computed(
    graph: ExampleTableColumns, model: TabularDeclaration, known: dict[str, InputField]
) -> tuple[tuple[OnDemandFeature, ...], list[SourceModule], list[InputField]]:
    """The functions in order of declaration, their source modules, and their outputs."""
    outputs: list[InputField] = []
    computed, modules = [], []
    for name in model.on_demand:
        node = graph.mill.on_demands[name]
        for taken in node.takes:
            if taken not in known:
                raise UnknownName(
                    f"{name}({taken}): model {model.name!r} has no input or feature {taken!r}",
                    tip=nearest(taken, known),
                )
            if taken == model.target:
                raise GraphError(
                    f"{name}({taken}): {taken!r} is the target of model {model.name!r}, so it cannot be an input"
                )
        gives = given_by(node, [known[taken] for taken in node.takes])
        clash = next((field.name for field in gives if field.name in known), None)
        if clash is not None:
            raise GraphError(f"on-demand features {name!r} return {clash!r}, which already exists", tip="rename it")
        shipped = shipped_function(node.function, FOLDER, "on-demand features")
        names = tuple(shipped.pretrained)
        computed.append(
            OnDemandFeature(function=name, module=shipped.path, takes=node.takes, gives=gives, pretrained=names)
        )
        modules.append(shipped)
        known |= {field.name: field for field in gives}
        outputs += gives
    return tuple(computed), modules, outputs


def given_by(node: OnDemandDeclaration, takes: Sequence[InputField]) -> tuple[InputField, ...]:
    """The outputs of an on-demand function, determined by running it on empty arrays."""
    try:
        given = node.function(*(np.zeros(0, DTYPES[field.kind]) for field in takes))
    except TidemillError:  # a pre-trained model that it uses has its own message
        raise
    except BaseException as error:  # the project's function may raise anything
        require_error(error)
        raise TypeMismatch(
            f"on-demand features {node.name!r} fail on empty arrays: {type(error).__name__}: {error}",
            tip="they receive numpy arrays of any length, including 0",
        ) from error
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise TypeMismatch(
            f"on-demand features {node.name!r} return a {type(given).__name__}", tip="return {name: array of n values}"
        )
    fields = []
    for name, values in given.items():
        array = np.asarray(values)
        if array.shape != (0,):
            raise TypeMismatch(f"on-demand features {node.name!r}: {name!r} does not have one value for each row")
        fields.append(InputField(name=name, kind=kind_of_dtype(array.dtype.kind) or "str"))
    return tuple(fields)
