"""Model page as data: versions, metrics compared with popularity, model card, training data and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tidemill.console.formatting import parameter, rule, through
from tidemill.console.pages.loop_page import LiveRow, live, model_names
from tidemill.console.pages.runs_page import all_runs
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.evaluation_report import (
    Quality,
    quality,
    shareable,
)
from tidemill.console.state.metric_history import MetricHistory, metric_history
from tidemill.console.state.model_traffic import RANGES, ModelTraffic, TrafficStore
from tidemill.console.state.release_outcomes import OutcomeStore, OutcomeSummary, ReleaseOutcomes
from tidemill.console.state.run_names import run_of
from tidemill.console.state.slice_table import SliceTable, user_slice_table
from tidemill.console.state.tabular_report import TabularReport, tabular_report
from tidemill.console.state.training_values import TrainingValues, training_values
from tidemill.core.clock import to_micros
from tidemill.core.errors import BadRequest, NoSuchRelease, nearest
from tidemill.core.record_format import Record
from tidemill.core.records.gate import GateVerdict
from tidemill.core.records.headline import Headline, headline
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.release import Card, Release
from tidemill.core.records.runs import Run
from tidemill.feedback import PREDICTIONS
from tidemill.loop.state.action_items import ActionCommand
from tidemill.loop.state.ledger_projection import LedgerProjection, ModelProjection
from tidemill.loop.state.server_status import served


class VersionRow(Record, frozen=True):
    """One release in the list of versions."""

    name: str
    number: int
    #: `former` was champion once, `candidate` is newer than any champion, `passed over` is neither.
    state: Literal["champion", "candidate", "former", "passed over"]
    created_at: int
    by: str
    as_of: int
    learner: str
    bundle: str
    #: Whether the previous release has the same bundle, so that only rules, facts or code differ.
    same_bundle: bool
    quality: Headline | None
    #: Number and name of the run that created it; `None` and empty if unknown.
    run: int | None
    run_name: str


class TriedSetting(Record, frozen=True):
    """One setting tried on validation days."""

    settings: str
    score: str


class SourceTable(Record, frozen=True):
    """One table that the bundle was trained on."""

    table: str
    version: int


class SlateStage(Record, frozen=True):
    """One stage of the slate with its rules, as written in mill.py."""

    name: str
    rules: tuple[str, ...]


class LiveChange(Record, frozen=True):
    """A promotion, a rollback, or a use of the kill switch."""

    at: int
    account: str
    what: str
    release: str
    before: str
    #: What the gate checked; `None` in entries of older versions, and for the kill switch.
    verdict: GateVerdict | None


class ModelPage(Record, frozen=True):
    """All data of the Model page."""

    mill: str
    now: int
    model: str
    models: tuple[str, ...]
    headline: str
    live: LiveRow
    #: The release whose card, quality and rules are shown; `None` before the first.
    shown: Release | None
    versions: tuple[VersionRow, ...]
    evaluation: Evaluation | None
    quality: tuple[Quality, ...]
    parts: SliceTable | None
    tried: tuple[TriedSetting, ...]
    #: The report of a tabular model's release; `None` for a recommender.
    tabular: TabularReport | None
    card: Card | None
    parameters: dict[str, str]
    data: tuple[SourceTable, ...]
    rules: tuple[SlateStage, ...]
    taken: tuple[ReleaseOutcomes, ...]
    #: The live rate over time; empty of a tabular model.
    live_rate: OutcomeSummary
    #: The key metric by release and evaluation; `None` if none was measured.
    history: MetricHistory | None
    #: Requests in the asked range; `None` without any. The ranges, and the one that was asked for.
    traffic: ModelTraffic | None
    ranges: tuple[str, ...]
    #: The inputs of a tabular model's release with their values in training.
    training_values: tuple[TrainingValues, ...]
    asked_range: str | None
    #: Predictions of all models in the log.
    logged: int
    changes: tuple[LiveChange, ...]
    commands: tuple[ActionCommand, ...]
    #: The reason why the ledger could not be read to its end, if so.
    unread: str | None


def model_page(
    stores: ConsoleStores,
    projection: LedgerProjection,
    model: str,
    number: int | None = None,
    sums: OutcomeStore | None = None,
    *,
    asked_range: str | None = None,
    traffic: TrafficStore | None = None,
) -> ModelPage:
    """Build the page of `model`; `number` shows another release than the champion; `asked_range` is one of `RANGES`.

    Raises `NoSuchRelease` with the nearest name for an unknown model or release, and `BadRequest` for another range.
    """
    if asked_range is not None and asked_range not in RANGES:
        raise BadRequest(f"there is no range {asked_range!r}; {nearest(asked_range, RANGES)}")
    projected = projection.catch_up()
    names = model_names(stores, projected)
    if model not in names:
        raise NoSuchRelease(f"there is no model {model!r}; {nearest(model, names)}", tip="tidemill status")
    known = projected.models.get(model) or ModelProjection(model)
    shown = _shown(known, number)
    measured = shown.card.evaluation if shown else None
    shown = shareable(shown) if shown else None
    evaluation = shown.card.evaluation if shown else None
    now_live = live(known, served(stores.serving_root, model, stores.ledger.keys.public))
    runs, _ = all_runs(stores, model)
    rows = shown is not None and shown.signature is not None
    asked = (traffic or TrafficStore()).traffic(stores, projected, model, asked_range)
    outcomes = OutcomeSummary() if rows else (sums or OutcomeStore()).outcomes(stores, projected, model)
    return ModelPage(
        mill=stores.mill_name,
        now=to_micros(stores.clock.now()),
        model=model,
        models=tuple(names),
        headline=_headline(now_live, known),
        live=now_live,
        shown=shown,
        versions=tuple(reversed(_versions(known, runs))),
        evaluation=evaluation,
        quality=quality(measured) if measured else (),
        parts=user_slice_table(measured) if measured else None,
        tried=tuple(_tried(evaluation)) if evaluation else (),
        tabular=tabular_report(shown, stores) if shown else None,
        card=shown.card if shown else None,
        parameters=_parameters(shown) if shown else {},
        data=tuple(SourceTable(table=table, version=version) for table, version in sorted(shown.data.items()))
        if shown
        else (),
        rules=_places(shown) if shown else (),
        taken=outcomes.releases,
        live_rate=msgspec.structs.replace(outcomes, releases=()),
        history=metric_history([release for release, _ in known.releases], runs),
        traffic=asked,
        training_values=training_values(shown, stores, asked) if shown and rows else (),
        ranges=tuple(RANGES),
        asked_range=asked_range,
        logged=projected.kept[PREDICTIONS].rows if PREDICTIONS in projected.kept else 0,
        changes=tuple(
            LiveChange(
                at=change.at,
                account=str(change.account),
                what=change.what,
                release=change.release,
                before=change.before,
                verdict=change.verdict,
            )
            for change in reversed(known.changes[-12:])
        ),
        commands=_commands(known, now_live),
        unread=projection.problem,
    )


def _shown(known: ModelProjection, number: int | None) -> Release | None:
    releases = [release for release, _ in known.releases]
    if number is None:
        return known.champion or (releases[-1] if releases else None)
    found = next((release for release in releases if release.number == number), None)
    if found is None:
        there = [release.name for release in releases]
        raise NoSuchRelease(f"there is no release {known.name}@{number}; {nearest(f'{known.name}@{number}', there)}")
    return found


def _headline(now: LiveRow, known: ModelProjection) -> str:
    if not known.releases:
        return f"{known.name} has not been trained yet." if not known.learned else f"{known.name} has no release yet."
    if now.release is None:
        return f"{known.name} has no champion."
    if now.serving.off:
        return f"{known.name} is switched off."
    learned = f", trained on data through {through(now.as_of)}" if now.as_of else ""
    return f"{now.release} is live{learned}."


def _versions(known: ModelProjection, runs: Sequence[Run]) -> list[VersionRow]:
    was = {change.release for change in known.changes if change.release}
    newest = max((int(name.rpartition("@")[2]) for name in was), default=0)
    champion = known.champion
    rows: list[VersionRow] = []
    for release, line in known.releases:
        run = run_of(release, runs)
        rows.append(
            VersionRow(
                run=run.number if run else None,
                run_name=run.name if run else "",
                name=release.name,
                number=release.number,
                state=_state(release, champion, was, newest),
                created_at=release.created_at,
                by=str(line.account),
                as_of=release.card.as_of,
                learner=release.card.learner,
                bundle=release.bundle[:12],
                same_bundle=bool(rows) and rows[-1].bundle == release.bundle[:12],
                quality=headline(release.card),
            )
        )
    return rows


def _state(
    release: Release, champion: Release | None, was: set[str], newest: int
) -> Literal["champion", "candidate", "former", "passed over"]:
    if champion is not None and release.number == champion.number:
        return "champion"
    if release.name in was:
        return "former"
    return "candidate" if release.number > newest else "passed over"


def _tried(evaluation: Evaluation) -> list[TriedSetting]:
    settings = []
    for one in evaluation.validation:
        score = next((one[name] for name in ("score", "value") if name in one), None)
        rest = {name: value for name, value in one.items() if name not in ("score", "value")}
        shown = f"{score:.4f}" if isinstance(score, float) else str(score or "")
        settings.append(TriedSetting(settings=parameter(rest), score=shown))
    return settings


def _parameters(release: Release) -> dict[str, str]:
    """The learner's settings; those of the candidates are shown with the candidates."""
    given = release.card.parameters
    listed = release.signature is not None and "members" in given
    return {name: parameter(value) for name, value in given.items() if not (listed and name == "members")}


def _places(release: Release) -> tuple[SlateStage, ...]:
    rules = release.rules
    fallback = (rules.fallback,) if rules.fallback else ()
    places = (
        ("retrieve", rules.retrieve),
        ("filter", rules.filter),
        ("score", rules.score),
        ("order", rules.order),
        ("fallback", fallback),
    )
    return tuple(SlateStage(name=name, rules=tuple(rule(one) for one in given)) for name, given in places if given)


def _commands(known: ModelProjection, now: LiveRow) -> tuple[ActionCommand, ...]:
    name = known.name
    tabular = bool(known.releases) and known.releases[-1][0].signature is not None
    found = [ActionCommand(text=f"tidemill train {name}", does="train, evaluate and create a release")]
    if known.releases:
        newest = known.releases[-1][0].name
        if newest != now.release:
            found.append(ActionCommand(text=f"tidemill promote {newest}", does=f"make {newest} live"))
        if sum(1 for change in known.changes if change.release) > 1:
            found.append(ActionCommand(text=f"tidemill rollback {name}", does="roll back to the previous champion"))
    if now.release:
        switch = (
            ("on", "serve the model again")
            if now.serving.off
            else ("off", "serve the fallback, or refuse requests" if not tabular else "refuse requests")
        )
        found.append(ActionCommand(text=f"tidemill {switch[0]} {name}", does=switch[1]))
    return tuple(found)
