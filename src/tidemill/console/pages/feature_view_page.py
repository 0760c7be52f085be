"""Feature view page as data: columns and their distributions, versions and usage."""

from __future__ import annotations

from typing import Any

from tidemill.console.formatting import counted, span
from tidemill.console.pages.features_page import SkewState, skew_state
from tidemill.console.pages.loop_page import model_names
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.feature_state import ViewMeasurements, ViewState, view_state
from tidemill.core.clock import to_micros
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.features.column_statistics import ColumnStatistics
from tidemill.features.distribution import Distribution
from tidemill.loop.online.feature_metadata_files import (
    DeclaredView,
    Significance,
    declared_features,
    significances,
    skews,
)
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection


class ColumnState(Record, frozen=True):
    """One column; minimum and maximum are left out if they could be the value of one person."""

    name: str
    type: str
    #: The type in plain words, and whether the values are times (UTC microseconds).
    kind: str
    is_time: bool
    missing: float
    distinct: int | None
    mean: float | None
    low: float | None
    high: float | None
    #: Whether it contains pseudonyms of people; no statistics are shown then.
    names_people: bool
    spread: Distribution | None
    #: Model -> p of the column being unrelated to the model's target, corrected for all inputs.
    p: dict[str, float]


class ModelTest(Record, frozen=True):
    """A model whose target the columns were tested against."""

    model: str
    target: str
    at: int
    publication: int


class ViewVersion(Record, frozen=True):
    """One materialisation of the view, from its ledger entry."""

    seq: int
    at: int
    by: str
    publication: int
    rows: int
    #: Prefix of the function's fingerprint, if stored; the fingerprint of code, tables and boundary together; and the
    #: input tables.
    code: str
    version: str
    tables: tuple[str, ...]


class SkewRow(Record, frozen=True):
    """A feature with training-serving skew, with one prediction as an example."""

    model: str
    feature: str
    differing: int
    n: int
    #: Number of differing predictions that are only stale.
    behind: int
    prediction: str
    as_of: int | None
    served: str
    training: str


class FeatureViewPage(Record, frozen=True):
    """All data of the page of one view."""

    mill: str
    now: int
    models: tuple[str, ...]
    headline: str
    lead: str
    view: ViewState
    inputs: tuple[str, ...]
    columns: tuple[ColumnState, ...]
    tested: tuple[ModelTest, ...]
    versions: tuple[ViewVersion, ...]
    skews: tuple[SkewState, ...]
    skewed: tuple[SkewRow, ...]
    #: Code that opens it in a notebook, and its declaration.
    snippet: str
    declaration: str
    commands: tuple[ActionCommand, ...]
    unread: str | None


def feature_view_page(
    stores: ConsoleStores, projection: LedgerProjection, name: str, store: ViewMeasurements | None = None
) -> FeatureViewPage:
    """The page of one view; raises `UnknownName` with the nearest name."""
    projected = projection.catch_up()
    views = {view.name: view for view in declared_features(stores.serving_root).views}
    if name not in views:
        there = nearest(name, list(views)) if views else "there are no views yet"
        raise UnknownName(f"there is no feature view {name!r}; {there}", tip="the Features page lists them")
    view = views[name]
    measured = (store or ViewMeasurements()).measure(stores, view)
    state = view_state(stores, projected, view, measured)
    tests = {model: one for model, one in significances(stores.serving_root).items() if model in view.inputs_of}
    found = [one for model, one in sorted(skews(stores.serving_root).items()) if model in view.inputs_of]
    return FeatureViewPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=tuple(model_names(stores, projected)),
        headline=_headline(state),
        lead=_lead(state),
        view=state,
        inputs=view.inputs,
        columns=tuple(_column(view, one, tests, state.rows) for one in measured.columns),
        tested=tuple(
            ModelTest(model=one.model, target=one.target, at=one.at, publication=one.publication)
            for one in tests.values()
        ),
        versions=tuple(_version(line) for line in reversed(projected.made.get(name, ()))),
        skews=tuple(skew_state(one) for one in found),
        skewed=tuple(_skewed(view, found)),
        snippet=view.snippet,
        declaration=_declaration(view),
        commands=tuple(_commands(view, state, {*tests}, {one.report.model for one in found})),
        unread=projection.problem,
    )


def _headline(state: ViewState) -> str:
    if state.weight in ("broken", "decide"):
        return f"{state.name} needs attention."
    return f"{state.name} is fresh."


def _lead(state: ViewState) -> str:
    if not state.rows:
        return f"No rows yet; the view has one row per {state.entity}."
    parts = [f"{counted(state.rows, 'row')}, one per {state.entity}"]
    if state.age_us is not None:
        kept = f"; values expire after {span(state.ttl_us)} (TTL)" if state.ttl_us else "; no expiry (TTL)"
        old = "less than a minute old" if state.age_us < 60_000_000 else f"{span(state.age_us)} old"
        parts.append(f"the newest is {old}{kept}")
    return "; ".join(parts) + "."


def _column(view: DeclaredView, one: ColumnStatistics, tests: dict[str, Significance], rows: int) -> ColumnState:
    read = {model: view.inputs_of[model].get(one.name, "") for model in tests}
    few = view.personal and round(rows * (1 - one.missing)) < FEWEST_USERS
    return ColumnState(
        name=one.name,
        type=one.type,
        kind=one.kind,
        is_time=one.is_time,
        missing=one.missing,
        distinct=None if few else one.distinct,
        mean=None if few else one.mean,
        low=None if view.personal else one.min,
        high=None if view.personal else one.max,
        names_people=one.name in view.hidden,
        spread=one.distribution,
        p={model: tests[model].p[name] for model, name in read.items() if name in tests[model].p},
    )


def _version(line: LedgerEntry) -> ViewVersion:
    return ViewVersion(
        seq=line.seq,
        at=line.at,
        by=str(line.account),
        publication=int(line.details["publication"]),
        rows=int(line.details["rows"]),
        code=str(line.details.get("code", "")),
        version=line.fingerprint[:12],
        tables=tuple(ref.removeprefix("table:") for ref in line.refs_in if ref.startswith("table:")),
    )


def _skewed(view: DeclaredView, found: list[Any]) -> list[SkewRow]:
    rows = []
    for kept in found:
        read = {*view.inputs_of[kept.report.model].values()}
        for one in kept.report.features:
            if one.feature not in read or not one.differing:
                continue
            row = one.rows[0] if one.rows else None
            rows.append(
                SkewRow(
                    model=kept.report.model,
                    feature=one.feature,
                    differing=one.differing,
                    n=one.n,
                    behind=one.behind,
                    prediction=row.prediction_id if row else "",
                    as_of=row.as_of if row else None,
                    served=_value(row.logged) if row else "",
                    training=_value(row.recomputed) if row else "",
                )
            )
    return rows


def _value(value: Any) -> str:
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _declaration(view: DeclaredView) -> str:
    arguments = [f'entity="{view.entity}"']
    if view.window_us is not None and view.every_us is not None:
        arguments += [f'window="{span(view.window_us)}"', f'every="{span(view.every_us)}"']
    if view.ttl_us is not None:
        arguments.append(f'ttl="{span(view.ttl_us)}"')
    if view.owner:
        arguments.append(f'owner="{view.owner}"')
    return f"@mill.features({', '.join(arguments)})\ndef {view.name}({', '.join(view.inputs)}):"


def _commands(view: DeclaredView, state: ViewState, tested: set[str], skewed: set[str]) -> list[ActionCommand]:
    commands = list(state.commands)
    if {*view.inputs_of} - tested:
        commands.append(
            ActionCommand(
                text=f"tidemill features {view.name} --significance",
                does="test its columns against the targets of the models that use them",
            )
        )
    commands += [
        ActionCommand(text=f"tidemill features --skew {model}", does=f"compare what {model} was served with training")
        for model in sorted(view.inputs_of)
        if model not in skewed
    ]
    return commands or [ActionCommand(text=f"tidemill features {view.name}", does="show the same in a terminal")]
