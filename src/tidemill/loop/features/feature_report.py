"""Feature report: statistics, freshness, owner and consumers of each feature view, for the console and the CLI."""

from __future__ import annotations

from typing import Any

from tidemill.core.clock import to_micros
from tidemill.core.record_format import Record
from tidemill.features.column_statistics import ColumnStatistics
from tidemill.features.freshness import ViewFreshness, view_freshness
from tidemill.lake import LakeSnapshot
from tidemill.loop.features.feature_significance import significance
from tidemill.loop.online.feature_metadata import consumers, declared_view
from tidemill.loop.online.feature_metadata_files import DeclaredView, Significance, write_significance
from tidemill.loop.online.view_rows import online_figures, online_rows
from tidemill.loop.project.declarations import FeatureViewDeclaration, TabularDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.serving.live.server_clock import replayed


class ViewOrigin(Record, frozen=True):
    """The ledger line that wrote a view's rows: when, by whom and from which publication."""

    #: Number of the line, when it was written (microseconds), by whom, and the publication that it was made from.
    line: int
    at: int
    by: str
    publication: int
    version: str


class FeatureReport(Record, frozen=True):
    """One feature view as it is online now."""

    name: str
    entity: str
    #: The entity is a person, looked up by its surrogate.
    personal: bool
    #: `rows`, or a window and how far its boundaries are apart, microseconds.
    kind: str
    window_us: int | None
    every_us: int | None
    ttl_us: int | None
    owner: str
    description: str
    inputs: tuple[str, ...]
    #: `None` where it was never materialised.
    made: ViewOrigin | None
    freshness: ViewFreshness
    #: The share of missing values over all columns.
    missing: float
    columns: tuple[ColumnStatistics, ...]
    #: Models that look it up, or whose slate uses it.
    consumers: tuple[str, ...]
    #: The code that opens it in a notebook.
    snippet: str
    #: Model -> column -> p of its being unrelated to the model's target, corrected for all inputs; else empty.
    significance: dict[str, dict[str, float]]


def feature_report(
    stores: Stores, graph: ProjectGraph, *, only: str | None = None, significant: bool = False
) -> tuple[FeatureReport, ...]:
    """The report of every view, or of `only` one, as of the server's clock: a replay's instant, else now.

    `significant` also tests the columns against the targets of the tabular models that use them: that reads tables.
    """
    views = [view for view in graph.mill.features_views.values() if only in (None, view.name)]
    tests = _tests(stores, graph, views) if significant else {}
    now = to_micros(replayed(stores.serving_root) or stores.clock.now())
    return tuple(_facts(stores, graph, view, now, tests) for view in views)


def _facts(
    stores: Stores, graph: ProjectGraph, view: FeatureViewDeclaration, now: int, tests: dict[str, dict[str, float]]
) -> FeatureReport:
    said = declared_view(graph, view)
    rows = online_rows(stores.latest, said)
    columns = online_figures(rows, said)
    return FeatureReport(
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
        made=_made(stores, view.name),
        freshness=view_freshness(rows, ttl_us=view.ttl_us, now=now),
        missing=sum(column.missing for column in columns) / len(columns) if columns else 0.0,
        columns=columns,
        consumers=said.consumers,
        snippet=said.snippet,
        significance={model: found for model in said.consumers if (found := _of_view(said, model, tests))},
    )


def _made(stores: Stores, view: str) -> ViewOrigin | None:
    line = stores.ledger.last("features", about=f"view:{view}")
    if line is None:
        return None
    return ViewOrigin(
        line=line.seq, at=line.at, by=line.actor, publication=line.details["publication"], version=line.fingerprint
    )


def _tests(stores: Stores, graph: ProjectGraph, views: list[FeatureViewDeclaration]) -> dict[str, dict[str, float]]:
    used = {name for view in views for name in consumers(graph, view.name)}
    models = [model for model in graph.mill.models.values() if model.name in used]
    if not models or stores.ledger.last("publish") is None:
        return {}
    published = stores.lake.view()
    return {model.name: _kept(stores, published, model, significance(graph, published, model)) for model in models}


def _kept(stores: Stores, published: LakeSnapshot, model: TabularDeclaration, p: dict[str, float]) -> dict[str, float]:
    """The tests of a model, stored for the console too."""
    at = to_micros(stores.clock.now())
    found = Significance(model=model.name, target=model.target, at=at, publication=published.publication, p=p)
    write_significance(stores.serving_root, found)
    return p


def _of_view(view: DeclaredView, model: str, tests: dict[str, dict[str, float]]) -> dict[str, float]:
    """A model's tests by the view's own columns."""
    found: dict[str, Any] = tests.get(model, {})
    read = view.inputs_of.get(model, {})
    return {column: found[name] for column, name in read.items() if name in found}
