"""Evaluation of a recommender: a release's settings, or ranked lists in a file, on days after its training data.

A live release was trained on all days, so it cannot be evaluated on them: a model is trained with its settings on the
days before the split, and that model is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import from_micros
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.progress import Progress, no_progress
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.release import Release, RuleSet
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.training.run_tracking import fan_out_progress, keep_figures, metrics_of
from tidemill.loop.training.train_recommender import model_named
from tidemill.models import LearnerSpec, learn
from tidemill.models.learners.registry import learner_of
from tidemill.training import (
    Measurement,
    PerUnitMetrics,
    Protocol,
    TimeSplit,
    catalogue,
    choose,
    evaluation_users,
    leave_one_out,
    measure,
    measure_ranker,
    read_ranked,
    split_at,
)


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation."""

    #: The release, `the settings of mill.py`, or the file's name.
    what: str
    evaluation: Evaluation
    #: The same under leave-one-out, which leaks the future; `None` unless requested.
    leave_one_out: Evaluation | None
    #: The run that records the evaluation, for example `for_you#3`.
    run: str


@dataclass(frozen=True)
class _EvaluationSubject:
    """The subject of an evaluation: settings, rules and their origin."""

    name: str
    spec: LearnerSpec
    rules: RuleSet
    #: Start of the test of the training that chose its settings (microseconds); `None` if unknown.
    chosen_before: int | None


def evaluate(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    *,
    at: int | None = None,
    protocol: Protocol | None = None,
    ranked: Path | None = None,
    by: str | None = None,
    beside: bool = False,
    progress: Progress = no_progress,
) -> EvaluationResult:
    """Evaluate the model or release `name` (`for_you`, `for_you@3`), or the lists in the file `ranked`, against
    popularity.

    For a model without a release, the settings of mill.py are used. `at` (microseconds) is the split, by default after
    90% of the events; `by` is a fact column that groups the items; `beside` adds leave-one-out. It only adds a run to
    the ledger.
    """
    model = model_named(graph, name.partition("@")[0])
    if ranked is not None and beside:
        raise UsageError(
            "ranked lists fit one split only, and leave-one-out is another", tip="leave one of the two out"
        )
    view = stores.lake.view()
    events = LearningEvents.from_snapshot(graph, model, view).all()
    split = split_at(events, at)
    groups = _groups(stores, graph, model, by, catalogue(split)) if by else None
    subject = None if ranked else _subject(stores, graph, model, name, split)
    around = collect_provenance(stores.project)
    with stores.runs.begin(
        model.name,
        "evaluate",
        learner=subject.spec.name if subject else "",
        parameters=subject.spec.told() if subject else {},
        data={model.interactions: view.versions[model.interactions]},
        as_of=view.as_of,
        commit=around.commit,
        changed=around.changed,
        environment=around.environment,
        notes=[around.machine],
    ) as run:
        progress = fan_out_progress(run, progress)
        progress("evaluate", {"what": subject.name if subject else str(ranked), "events": len(events)})
        second = None
        if subject is None:
            assert ranked is not None
            what, found = ranked.name, _of_file(stores, graph, model, split, ranked, protocol, groups)
        else:
            what, found = subject.name, _of_settings(subject, model.name, split, protocol, groups, progress)
            if beside:
                second = _of_settings(subject, model.name, leave_one_out(events), None, groups, progress)
        for sentence in (what, found.evaluation.protocol, found.evaluation.worst, *found.evaluation.warnings):
            run.note(sentence)
        keep_figures(stores, run, PerUnitMetrics.from_measurement(found))
        run.finish(metrics=metrics_of(found.evaluation))
    return EvaluationResult(what, found.evaluation, second.evaluation if second else None, run.name)


def _of_settings(
    subject: _EvaluationSubject,
    model: str,
    split: TimeSplit,
    protocol: Protocol | None,
    groups: dict[str, str] | None,
    progress: Progress,
) -> Measurement:
    recommender = learn(subject.spec, split.train, split.at, progress=progress)
    warnings = _chosen_in_view(subject, split)
    return measure(
        recommender, split, model=model, rules=subject.rules, protocol=protocol, groups=groups, told=warnings
    )


def _chosen_in_view(subject: _EvaluationSubject, split: TimeSplit) -> list[str]:
    """A warning if the settings were chosen on days of this test."""
    if split.kind != "time" or subject.chosen_before is None or subject.chosen_before <= split.at:
        return []
    day = from_micros(subject.chosen_before).date()
    return [f"the settings of {subject.name} were chosen on days before {day}, some of which are in this test"]


def _of_file(
    stores: Stores,
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    split: TimeSplit,
    file: Path,
    protocol: Protocol | None,
    groups: dict[str, str] | None,
) -> Measurement:
    roles = graph.roles(model)
    lists = read_ranked(
        file,
        catalogue(split),
        sorted({*split.train.users, *split.test.users}),
        user=roles.subject,
        item=roles.item,
        surrogate=lambda found: stores.surrogates.many(roles.subject, found),
    )
    warnings = lists.told(evaluation_users(split, protocol))
    return measure_ranker(lists, split, protocol=protocol, groups=groups, told=warnings)


def _subject(
    stores: Stores, graph: ProjectGraph, model: RecommenderDeclaration, name: str, split: TimeSplit
) -> _EvaluationSubject:
    release = _release(stores, model.name, name)
    if release is None:
        rules = model.slate.rules(graph.item_views(model))
        return _EvaluationSubject("the settings of mill.py", choose(model.learn, split.train).spec, rules, None)
    card = release.card
    spec = learner_of(card.learner, card.parameters)
    measured_from = card.evaluation.split_at if card.evaluation else None
    return _EvaluationSubject(release.name, spec, release.rules, measured_from)


def _release(stores: Stores, model: str, name: str) -> Release | None:
    """The named release, else the champion, else the newest; `None` if there is none."""
    if "@" in name:
        return stores.releases.get(name)
    champion = stores.releases.champion(model)
    releases = stores.releases.all(model)
    return champion or (releases[-1] if releases else None)


def _groups(
    stores: Stores, graph: ProjectGraph, model: RecommenderDeclaration, by: str, items: list[str]
) -> dict[str, str]:
    """Item -> its value of the fact column `by` (`category`, or `facts.category`)."""
    views = graph.item_views(model)
    known = {f"{view}.{column}": (view, column) for view, columns in views.items() for column in columns}
    matching = [place for full, place in known.items() if by in (full, place[1])]
    if len(matching) != 1:
        raise UnknownName(f"{model.name} has {len(matching)} fact columns `{by}` of items", tip=nearest(by, known))
    view, column = matching[0]
    found, there = stores.latest.take(view, items, [column])
    values: list[Any] = found.column(column).to_pylist()
    return {
        item: str(value)
        for item, value, is_there in zip(items, values, there.tolist(), strict=True)
        if is_there and value is not None
    }
