"""Feature metadata: declared feature views, functions and tables as records, for processes that do not load mill.py."""

from __future__ import annotations

from tidemill.core.contract.contract import SYSTEM_COLUMNS
from tidemill.loop.online.feature_metadata_files import DeclaredFeatures, DeclaredFunction, DeclaredTable, DeclaredView
from tidemill.loop.project.declarations import FeatureViewDeclaration, OnDemandDeclaration
from tidemill.loop.project.graph import ProjectGraph


def declared(graph: ProjectGraph) -> DeclaredFeatures:
    """Every feature view, on-demand function and table of a project."""
    return DeclaredFeatures(
        views=tuple(declared_view(graph, view) for view in graph.mill.features_views.values()),
        functions=tuple(_function(graph, one) for one in graph.mill.on_demands.values()),
        tables=tuple(declared_table(graph, name) for name in (*graph.mill.streams, *graph.mill.tables)),
    )


def declared_table(graph: ProjectGraph, name: str) -> DeclaredTable:
    """One stream or table."""
    mill = graph.mill
    stream, table = mill.streams.get(name), mill.tables.get(name)
    events = [model.name for model in mill.recommenders.values() if model.interactions == name]
    examples = [model.name for model in mill.row_models.values() if model.examples == name]
    return DeclaredTable(
        name=name,
        is_stream=stream is not None,
        inputs=table.inputs if table else (),
        personal=tuple(graph.personal(name)),
        key=stream.key if stream else (),
        views=tuple(view.name for view in mill.features_views.values() if name in view.inputs),
        models=tuple(sorted(events + examples)),
    )


def declared_view(graph: ProjectGraph, view: FeatureViewDeclaration) -> DeclaredView:
    """One feature view."""
    personal = graph.personal(view.name)
    schema, left_out = graph.schemas[view.name], {view.entity, *SYSTEM_COLUMNS}
    return DeclaredView(
        name=view.name,
        entity=view.entity,
        personal=view.entity in personal,
        hidden=tuple(personal),
        kind=_kind(view),
        window_us=view.window_us,
        every_us=view.every_us,
        ttl_us=view.ttl_us,
        owner=view.owner,
        description=view.description,
        inputs=view.inputs,
        columns={name: str(schema.field(name).type) for name in schema.names if name not in left_out},
        consumers=consumers(graph, view.name),
        inputs_of=_inputs_of(graph, view.name),
    )


def consumers(graph: ProjectGraph, view: str) -> tuple[str, ...]:
    """The models that read a view, by name."""
    mill = graph.mill
    slates = [one.name for one in mill.recommenders.values() if view in one.features]
    rows = [one.name for one in mill.row_models.values() if view in (*one.features, one.examples)]
    return tuple(sorted(slates + rows))


def _inputs_of(graph: ProjectGraph, view: str) -> dict[str, dict[str, str]]:
    """Model -> column of the view -> input of the model."""
    found: dict[str, dict[str, str]] = {}
    for name, asked in graph.askings.items():
        for lookup in asked.lookups:
            if lookup.view == view:
                found.setdefault(name, {}).update({column: given for given, column in lookup.columns.items()})
        if asked.model.examples == view:
            found.setdefault(name, {}).update({field.name: field.name for field in asked.inputs})
    return found


def _function(graph: ProjectGraph, one: OnDemandDeclaration) -> DeclaredFunction:
    used = [name for name, signature in graph.askings.items() if one.name in signature.model.on_demand]
    computed_by = [
        computed for name in used for computed in graph.askings[name].computed if computed.function == one.name
    ]
    return DeclaredFunction(
        name=one.name,
        owner=one.owner,
        description=one.description,
        takes=one.takes,
        gives=computed_by[0].gives if computed_by else (),
        consumers=tuple(sorted(used)),
    )


def _kind(view: FeatureViewDeclaration) -> str:
    if view.window_us is None or view.every_us is None:
        return "rows"
    return f"window {length(view.window_us)}, every {length(view.every_us)}"


def length(microseconds: int) -> str:
    """A duration in the largest unit that divides it, else in rounded seconds.

    >>> length(90 * 86_400_000_000), length(5_400_000_000), length(250_000)
    ('90 days', '90 minutes', '0 seconds')
    """
    seconds = round(microseconds / 1_000_000)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds and seconds % size == 0:
            n = seconds // size
            return f"{n:,} {unit}{'s' if n != 1 else ''}"
    return f"{seconds:,} second{'s' if seconds != 1 else ''}"
