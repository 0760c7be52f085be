"""Features page as data: every view and on-demand function with owner, freshness, skew and actions."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.console.formatting import counted, spelled
from tidemill.console.pages.loop_page import model_names
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.feature_state import ViewMeasurements, ViewState, view_state
from tidemill.core.clock import to_micros
from tidemill.core.record_format import Record
from tidemill.core.records.signature import InputField
from tidemill.loop.online.feature_metadata_files import (
    DeclaredFeatures,
    DeclaredFunction,
    StoredSkew,
    declared_features,
    significances,
    skews,
)
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ProjectedState

_ORDER = {"broken": 0, "decide": 1, "hint": 2, "well": 3}


class FunctionValue(Record, frozen=True):
    """An output of a function, with the Holm-corrected p of its relation to each model's target: model -> p."""

    field: InputField
    p: dict[str, float]


class FunctionState(Record, frozen=True):
    """An on-demand function and its features."""

    name: str
    owner: str
    description: str
    takes: tuple[str, ...]
    #: Empty until a model uses it: the outputs are known from a model's signature.
    gives: tuple[FunctionValue, ...]
    consumers: tuple[str, ...]
    snippet: str


class SkewState(Record, frozen=True):
    """Training-serving skew of a model, if it was measured."""

    model: str
    at: int
    predictions: int
    differs: bool
    says: str
    commands: tuple[ActionCommand, ...]


class FeaturesPage(Record, frozen=True):
    """All data of the Features page."""

    mill: str
    now: int
    models: tuple[str, ...]
    headline: str
    lead: str
    #: Those that need attention first.
    views: tuple[ViewState, ...]
    functions: tuple[FunctionState, ...]
    #: Internal views of recommenders: items seen by each user, interaction counts of items.
    kept: int
    skews: tuple[SkewState, ...]
    commands: tuple[ActionCommand, ...]
    #: The reason why the ledger could not be read, if so.
    unread: str | None


def features_page(
    stores: ConsoleStores, projection: LedgerProjection, store: ViewMeasurements | None = None
) -> FeaturesPage:
    """Build the page."""
    projected = projection.catch_up()
    declared = declared_features(stores.serving_root)
    known = store or ViewMeasurements()
    views = [view_state(stores, projected, view, known.measure(stores, view)) for view in declared.views]
    views.sort(key=lambda view: (_ORDER[view.weight], -view.expired, -view.missing, view.name))
    tested = {name: one.p for name, one in significances(stores.serving_root).items()}
    skew_states = [skew_state(one) for _, one in sorted(skews(stores.serving_root).items()) if one.report.features]
    return FeaturesPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        models=tuple(model_names(stores, projected)),
        headline=_headline(views, declared),
        lead=_lead(views, declared, skew_states),
        views=tuple(views),
        functions=tuple(_function(one, tested) for one in declared.functions),
        kept=len(projected.views.keys() - {view.name for view in declared.views}),
        skews=tuple(sorted(skew_states, key=lambda one: not one.differs)),
        commands=tuple(_commands(projected, declared, [one.model for one in skew_states])),
        unread=projection.problem,
    )


def skew_state(kept: StoredSkew) -> SkewState:
    """The stored skew report as a sentence with its command."""
    report = kept.report
    apart = [one for one in report.features if one.differing]
    predictions = counted(report.predictions, "prediction")
    if not report.predictions:
        says = f"{report.release} has no logged predictions yet."
    elif not apart:
        says = f"No training-serving skew for {report.release}: all features of {predictions} match."
    else:
        worst = max(apart, key=lambda one: one.share)
        of = counted(len(report.features), "feature")
        says = (
            f"Training-serving skew for {report.release} in {len(apart):,} of {of}; "
            f"{worst.feature} differs most: in {worst.differing:,} of {predictions}."
        )
    again = ActionCommand(text=f"tidemill features --skew {report.model}", does="measure it again")
    return SkewState(
        model=report.model,
        at=kept.at,
        predictions=report.predictions,
        differs=report.differs,
        says=says,
        commands=(again,),
    )


def _function(one: DeclaredFunction, tested: dict[str, dict[str, float]]) -> FunctionState:
    gives = tuple(
        FunctionValue(
            field=field,
            p={model: tested[model][field.name] for model in one.consumers if field.name in tested.get(model, {})},
        )
        for field in one.gives
    )
    return FunctionState(
        name=one.name,
        owner=one.owner,
        description=one.description,
        takes=one.takes,
        gives=gives,
        consumers=one.consumers,
        snippet=_declaration(one),
    )


def _declaration(one: DeclaredFunction) -> str:
    owner = f'owner="{one.owner}"' if one.owner else ""
    return f"@mill.on_demand({owner})\ndef {one.name}({', '.join(one.takes)}):"


def _headline(views: Sequence[ViewState], declared: DeclaredFeatures) -> str:
    if not views and not declared.functions:
        return "No features yet."
    pressing = sum(view.weight in ("broken", "decide") for view in views)
    if pressing:
        return f"{spelled(pressing)} {'view needs' if pressing == 1 else 'views need'} attention."
    return "All features are fresh." if views else "All features are computed on demand."


def _lead(views: Sequence[ViewState], declared: DeclaredFeatures, skew_states: Sequence[SkewState]) -> str:
    if not views and not declared.functions:
        return "Declare a feature once; training and serving use the same values."
    parts = []
    if views:
        rows = sum(view.rows for view in views)
        parts.append(f"{counted(len(views), 'view')} with {counted(rows, 'row')} online")
    if declared.functions:
        parts.append(f"{counted(len(declared.functions), 'on-demand function')}")
    skewed = [one.model for one in skew_states if one.differs]
    if skewed:
        parts.append(f"training-serving skew for {', '.join(skewed)}")
    return "; ".join(parts) + "."


def _commands(projected: ProjectedState, declared: DeclaredFeatures, measured: Sequence[str]) -> list[ActionCommand]:
    if not declared.views and not declared.functions:
        if projected.publication is None:
            return [ActionCommand(text="tidemill run --backfill", does="ingest the existing data and build the views")]
        return [ActionCommand(text="tidemill run", does="apply the declarations in mill.py")]
    commands = [ActionCommand(text="tidemill run", does="update the views from the newest data")]
    looking = sorted({model for view in declared.views for model in view.inputs_of} - {*measured})
    commands += [
        ActionCommand(text=f"tidemill features --skew {model}", does=f"compare what {model} was served with training")
        for model in looking[:3]
    ]
    return commands
