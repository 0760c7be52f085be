"""What a project's feature views hold, how old it is, who answers for it and what uses it: for a page and a command."""

from __future__ import annotations

from typing import Any

from tidemill.core.clock import micros
from tidemill.core.records import Record
from tidemill.features.column_figures import ColumnFigures
from tidemill.features.freshness import Freshness, freshness
from tidemill.lake import View
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.nodes import Features, Model
from tidemill.loop.views.declared_features import consumers, declared_view
from tidemill.loop.views.feature_files import DeclaredView, Significance, write_significance
from tidemill.loop.views.feature_significance import significance
from tidemill.loop.views.online_rows import online_figures, online_rows
from tidemill.serving.clock import replayed


class Made(Record, frozen=True):
    """When and from what a view's rows were written, by the ledger's line."""

    #: Number of the line, when it was written (microseconds), by whom, and the publication that it was made from.
    line: int
    at: int
    by: str
    publication: int
    version: str


class FeatureFacts(Record, frozen=True):
    """One feature view as it is online now."""

    name: str
    entity: str
    #: The entity is a person, asked by its surrogate.
    personal: bool
    #: `rows`, or a window and how far its boundaries are apart, microseconds.
    kind: str
    window_us: int | None
    every_us: int | None
    ttl_us: int | None
    owner: str
    description: str
    inputs: tuple[str, ...]
    #: `None` where it was never made.
    made: Made | None
    freshness: Freshness
    #: The share of missing values over all columns.
    missing: float
    columns: tuple[ColumnFigures, ...]
    #: Models that look it up, or whose slate may ask it.
    consumers: tuple[str, ...]
    #: What opens it in a notebook.
    snippet: str
    #: Model -> column -> p of its being unrelated to the model's target, corrected for all inputs; empty unless asked.
    significance: dict[str, dict[str, float]]


def feature_facts(
    house: House, graph: Graph, *, only: str | None = None, significant: bool = False
) -> tuple[FeatureFacts, ...]:
    """The facts of every view, or of `only` one, as of the server's clock: a replay's instant, else now.

    `significant` also tests the columns against the targets of the tabular models that use them: that reads tables.
    """
    views = [view for view in graph.mill.features_views.values() if only in (None, view.name)]
    tests = _tests(house, graph, views) if significant else {}
    now = micros(replayed(house.serving_root) or house.clock.now())
    return tuple(_facts(house, graph, view, now, tests) for view in views)


def _facts(house: House, graph: Graph, view: Features, now: int, tests: dict[str, dict[str, float]]) -> FeatureFacts:
    said = declared_view(graph, view)
    rows = online_rows(house.latest, said)
    columns = online_figures(rows, said)
    return FeatureFacts(
        name=said.name,
        entity=said.entity,
        personal=said.personal,
        kind=said.kind,
        window_us=said.window_us,
        every_us=said.every_us,
        ttl_us=said.ttl_us,
        owner=said.owner,
        description=said.description,
        inputs=said.inputs,
        made=_made(house, view.name),
        freshness=freshness(rows, ttl_us=view.ttl_us, now=now),
        missing=sum(column.missing for column in columns) / len(columns) if columns else 0.0,
        columns=columns,
        consumers=said.consumers,
        snippet=said.snippet,
        significance={model: found for model in said.consumers if (found := _of_view(said, model, tests))},
    )


def _made(house: House, view: str) -> Made | None:
    line = house.ledger.last("features", about=f"view:{view}")
    if line is None:
        return None
    return Made(
        line=line.seq, at=line.at, by=line.actor, publication=line.details["publication"], version=line.fingerprint
    )


def _tests(house: House, graph: Graph, views: list[Features]) -> dict[str, dict[str, float]]:
    used = {name for view in views for name in consumers(graph, view.name)}
    models = [model for model in graph.mill.models.values() if model.name in used]
    if not models or house.ledger.last("publish") is None:
        return {}
    published = house.lake.view()
    return {model.name: _kept(house, published, model, significance(graph, published, model)) for model in models}


def _kept(house: House, published: View, model: Model, p: dict[str, float]) -> dict[str, float]:
    """The tests of a model, left for the console too."""
    at = micros(house.clock.now())
    found = Significance(model=model.name, target=model.target, at=at, publication=published.publication, p=p)
    write_significance(house.serving_root, found)
    return p


def _of_view(view: DeclaredView, model: str, tests: dict[str, dict[str, float]]) -> dict[str, float]:
    """A model's tests by the view's own columns."""
    found: dict[str, Any] = tests.get(model, {})
    read = view.inputs_of.get(model, {})
    return {column: found[name] for column, name in read.items() if name in found}
