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
    """The ledger entry that wrote a view's rows: when, by whom and from which publication."""

    #: Number of the entry, its time (microseconds), its author, and the source publication.
    line: int
    at: int
    by: str
    publication: int
    version: str


class FeatureReport(Record, frozen=True):
    """The current online state of one feature view."""

    name: str
    entity: str
    #: Whether the entity is a person, looked up by its surrogate.
    personal: bool
    #: `rows`, or a window and the distance between its boundaries, microseconds.
    kind: str
    window_us: int | None
    every_us: int | None
    ttl_us: int | None
    owner: str
    description: str
    inputs: tuple[str, ...]
    #: `None` if it was never materialised.
    made: ViewOrigin | None
    freshness: ViewFreshness
    #: The share of missing values over all columns.
    missing: float
    columns: tuple[ColumnStatistics, ...]
    #: Models that look it up, or whose slate uses it.
    consumers: tuple[str, ...]
    #: The code that opens it in a notebook.
    snippet: str
    #: Model -> column -> p of the column being unrelated to the model's target, corrected for all inputs; else empty.
    significance: dict[str, dict[str, float]]


def feature_report(
    stores: Stores, graph: ProjectGraph, *, only: str | None = None, significant: bool = False
) -> tuple[FeatureReport, ...]:
    """The report of every view, or of `only` one, as of the server's clock: the replayed instant, else now.

    `significant` also tests the columns against the targets of the tabular models that use them, which reads tables.
    """
    views = [view for view in graph.mill.features_views.values() if only in (None, view.name)]
    tests = _tests(stores, graph, views) if significant else {}
    now = to_micros(replayed(stores.serving_root) or stores.clock.now())
    return tuple(_facts(stores, graph, view, now, tests) for view in views)


def _facts(
    stores: Stores, graph: ProjectGraph, view: FeatureViewDeclaration, now: int, tests: dict[str, dict[str, float]]
) -> FeatureReport:
    declared = declared_view(graph, view)
    rows = online_rows(stores.latest, declared)
    columns = online_figures(rows, declared)
    return FeatureReport(
        name=declared.name,
        entity=declared.entity,
        personal=declared.personal,
        kind=declared.kind,
        window_us=declared.window_us,
        every_us=declared.every_us,
        ttl_us=declared.ttl_us,
        owner=declared.owner,
        description=declared.description,
        inputs=declared.inputs,
        made=_made(stores, view.name),
        freshness=view_freshness(rows, ttl_us=view.ttl_us, now=now),
        missing=sum(column.missing for column in columns) / len(columns) if columns else 0.0,
        columns=columns,
        consumers=declared.consumers,
        snippet=declared.snippet,
        significance={model: found for model in declared.consumers if (found := _of_view(declared, model, tests))},
    )


def _made(stores: Stores, view: str) -> ViewOrigin | None:
    line = stores.ledger.last("features", about=f"view:{view}")
    if line is None:
        return None
    return ViewOrigin(
        line=line.seq,
        at=line.at,
        by=str(line.account),
        publication=line.details["publication"],
        version=line.fingerprint,
    )


def _tests(stores: Stores, graph: ProjectGraph, views: list[FeatureViewDeclaration]) -> dict[str, dict[str, float]]:
    used = {name for view in views for name in consumers(graph, view.name)}
    models = [model for model in graph.mill.row_models.values() if model.name in used]
    if not models or stores.ledger.last("publish") is None:
        return {}
    published = stores.lake.view()
    return {model.name: _kept(stores, published, model, significance(graph, published, model)) for model in models}


def _kept(stores: Stores, published: LakeSnapshot, model: TabularDeclaration, p: dict[str, float]) -> dict[str, float]:
    """The tests of a model, also stored for the console."""
    at = to_micros(stores.clock.now())
    found = Significance(model=model.name, target=model.target, at=at, publication=published.publication, p=p)
    write_significance(stores.serving_root, found)
    return p


def _of_view(view: DeclaredView, model: str, tests: dict[str, dict[str, float]]) -> dict[str, float]:
    """A model's tests, by the columns of the view."""
    found: dict[str, Any] = tests.get(model, {})
    read = view.inputs_of.get(model, {})
    return {column: found[name] for column, name in read.items() if name in found}
