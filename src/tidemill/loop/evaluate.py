"""Measuring what there is: a release's settings, or somebody's ranked lists, on days after everything learned from.

A release that is live has learned from all days, so it cannot be measured on them: its settings are learned again from
the days before the split, and what that leaves is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import from_micros
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.records import Evaluation
from tidemill.core.release import Release, RuleSet
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.interactions import Events
from tidemill.loop.learn import model_named
from tidemill.loop.nodes import Recommender
from tidemill.loop.run import Teller, silent
from tidemill.loop.surroundings import surroundings
from tidemill.loop.tracking import both, keep_figures, metrics_of
from tidemill.models import LearnerSpec, learn
from tidemill.models.learners.registry import learner_of
from tidemill.training import (
    Measurement,
    Protocol,
    TimeSplit,
    UserFigures,
    catalogue,
    choose,
    leave_one_out,
    measure,
    measure_ranker,
    measured_users,
    read_ranked,
    split_at,
)


@dataclass(frozen=True)
class Evaluated:
    """What was measured, and how good it is."""

    #: The release, `the settings of mill.py`, or the file's name.
    what: str
    evaluation: Evaluation
    #: The same under leave-one-out, which leaks the future; `None` where it was not asked for.
    leave_one_out: Evaluation | None
    #: The run that keeps it, for example `for_you#3`.
    run: str


@dataclass(frozen=True)
class _Subject:
    """What is measured: settings and rules, and where they come from."""

    name: str
    spec: LearnerSpec
    rules: RuleSet
    #: The test of the training that chose its settings began here (microseconds); `None` where nobody knows.
    chosen_before: int | None


def evaluate(
    house: House,
    graph: Graph,
    name: str,
    *,
    at: int | None = None,
    protocol: Protocol | None = None,
    ranked: Path | None = None,
    by: str | None = None,
    beside: bool = False,
    tell: Teller = silent,
) -> Evaluated:
    """Measure the model or release `name` (`for_you`, `for_you@3`), or the lists in the file `ranked`, beside
    popularity.

    Of a model without a release, what mill.py says is learned and measured. `at` (microseconds) is the split, by
    default where 90% of the events have happened; `by` is a fact column of the items to tell groups of items apart;
    `beside` measures by leave-one-out too. It changes nothing but the ledger, where it is a run.
    """
    model = model_named(graph, name.partition("@")[0])
    if ranked is not None and beside:
        raise UsageError("lists in a file answer one split; leave-one-out is another", tip="leave one of the two out")
    view = house.lake.view()
    events = Events.of(graph, model, view).all()
    split = split_at(events, at)
    groups = _groups(house, graph, model, by, catalogue(split)) if by else None
    subject = None if ranked else _subject(house, graph, model, name, split)
    around = surroundings(house.project)
    with house.runs.begin(
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
        tell = both(run, tell)
        tell("evaluate", {"what": subject.name if subject else str(ranked), "events": len(events)})
        second = None
        if subject is None:
            assert ranked is not None
            what, found = ranked.name, _of_file(house, graph, model, split, ranked, protocol, groups)
        else:
            what, found = subject.name, _of_settings(subject, model.name, split, protocol, groups, tell)
            if beside:
                second = _of_settings(subject, model.name, leave_one_out(events), None, groups, tell)
        for sentence in (what, found.evaluation.protocol, found.evaluation.worst, *found.evaluation.warnings):
            run.note(sentence)
        keep_figures(house, run, UserFigures.of(found))
        run.finish(metrics=metrics_of(found.evaluation))
    return Evaluated(what, found.evaluation, second.evaluation if second else None, run.name)


def _of_settings(
    subject: _Subject,
    model: str,
    split: TimeSplit,
    protocol: Protocol | None,
    groups: dict[str, str] | None,
    tell: Teller,
) -> Measurement:
    recommender = learn(subject.spec, split.train, split.at, progress=tell)
    told = _chosen_in_view(subject, split)
    return measure(recommender, split, model=model, rules=subject.rules, protocol=protocol, groups=groups, told=told)


def _chosen_in_view(subject: _Subject, split: TimeSplit) -> list[str]:
    """A sentence where the settings were chosen with days of this test in view."""
    if split.kind != "time" or subject.chosen_before is None or subject.chosen_before <= split.at:
        return []
    day = from_micros(subject.chosen_before).date()
    return [f"the settings of {subject.name} were chosen on days before {day}, and some of these lie in this test"]


def _of_file(
    house: House,
    graph: Graph,
    model: Recommender,
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
        surrogate=lambda found: house.surrogates.many(roles.subject, found),
    )
    told = lists.told(measured_users(split, protocol))
    return measure_ranker(lists, split, protocol=protocol, groups=groups, told=told)


def _subject(house: House, graph: Graph, model: Recommender, name: str, split: TimeSplit) -> _Subject:
    release = _release(house, model.name, name)
    if release is None:
        rules = model.slate.rules(graph.item_views(model))
        return _Subject("the settings of mill.py", choose(model.learn, split.train).spec, rules, None)
    card = release.card
    spec = learner_of(card.learner, card.parameters)
    measured_from = card.evaluation.split_at if card.evaluation else None
    return _Subject(release.name, spec, release.rules, measured_from)


def _release(house: House, model: str, name: str) -> Release | None:
    """The release that is named, else the champion, else the newest; `None` where there is none."""
    if "@" in name:
        return house.releases.get(name)
    champion = house.releases.champion(model)
    made = house.releases.all(model)
    return champion or (made[-1] if made else None)


def _groups(house: House, graph: Graph, model: Recommender, by: str, items: list[str]) -> dict[str, str]:
    """Item -> its value of the fact column `by` (`category`, or `facts.category`)."""
    views = graph.item_views(model)
    known = {f"{view}.{column}": (view, column) for view, columns in views.items() for column in columns}
    matching = [place for full, place in known.items() if by in (full, place[1])]
    if len(matching) != 1:
        raise UnknownName(f"{model.name} has {len(matching)} fact columns `{by}` of items", tip=nearest(by, known))
    view, column = matching[0]
    found, there = house.latest.take(view, items, [column])
    values: list[Any] = found.column(column).to_pylist()
    return {
        item: str(value)
        for item, value, is_there in zip(items, values, there.tolist(), strict=True)
        if is_there and value is not None
    }
