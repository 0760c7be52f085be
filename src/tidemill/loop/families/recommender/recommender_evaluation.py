"""Evaluation of a recommender: a release's settings, or ranked lists in a file, on days after its training data.

A live release was trained on all days, so it cannot be evaluated on them: a model is trained with its settings on the
days before the split, and that model is evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import from_micros
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.progress import Progress
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.release import RuleSet
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.families.model_family import (
    EvaluationOptions,
    EvaluationReport,
    named_release,
)
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.models import Interactions, LearnerSpec, learn
from tidemill.models.learners.registry import learner_of
from tidemill.sources.files.table_file import read_table
from tidemill.training import (
    Measurement,
    PerUnitMetrics,
    TimeSplit,
    catalogue,
    choose,
    evaluation_users,
    leave_one_out,
    measure,
    measure_ranker,
    ranked_lists,
    split_at,
)
from tidemill.training.recommender.ranked_lists import ITEM, USER


def prepare_evaluation(
    stores: Stores, graph: ProjectGraph, name: str, view: LakeSnapshot, options: EvaluationOptions
) -> RecommenderEvaluation:
    """The evaluation of a model or a release, ready to run; `UsageError` for options that exclude each other."""
    if options.ranked is not None and options.leave_one_out:
        raise UsageError(
            "ranked lists fit one split only, and leave-one-out is another", tip="leave one of the two out"
        )
    model = graph.recommender(name.partition("@")[0])
    events = LearningEvents.from_snapshot(graph, model, view).all(model.learn)
    split = split_at(events, options.at)
    subject = None if options.ranked else _subject(stores, graph, model, name, split)
    return RecommenderEvaluation(stores, graph, model, view, options, events, split, subject)


@dataclass(frozen=True)
class _EvaluationSubject:
    """The subject of an evaluation: settings, rules and their origin."""

    name: str
    spec: LearnerSpec
    rules: RuleSet
    #: Start of the test of the training that chose its settings (microseconds); `None` if unknown.
    chosen_before: int | None


@dataclass(frozen=True)
class RecommenderEvaluation:
    """See `EvaluationJob`. Without a `subject`, the lists of the file are evaluated."""

    stores: Stores
    graph: ProjectGraph
    model: RecommenderDeclaration
    view: LakeSnapshot
    options: EvaluationOptions
    events: Interactions
    split: TimeSplit
    subject: _EvaluationSubject | None

    @property
    def what(self) -> str:
        return self.subject.name if self.subject else self._file.name

    @property
    def learner(self) -> str:
        return self.subject.spec.name if self.subject else ""

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.subject.spec.told() if self.subject else {}

    @property
    def data(self) -> dict[str, int]:
        return {self.model.interactions: self.view.versions[self.model.interactions]}

    @property
    def n_rows(self) -> int:
        return len(self.events)

    def measure(self, progress: Progress) -> EvaluationReport:
        by = self.options.by
        groups = _groups(self.stores, self.graph, self.model, by, catalogue(self.split)) if by else None
        second: Evaluation | None = None
        if self.subject is None:
            found = self._of_file(groups)
        else:
            found = self._of_settings(self.subject, self.split, groups, progress)
            if self.options.leave_one_out:
                second = self._of_settings(self.subject, leave_one_out(self.events), groups, progress).evaluation
        evaluation = found.evaluation
        return EvaluationReport(
            notes=(evaluation.protocol, evaluation.worst, *evaluation.warnings),
            metrics=evaluation.metrics(),
            figures=PerUnitMetrics.from_measurement(found),
            evaluation=evaluation,
            leave_one_out=second,
        )

    @property
    def _file(self) -> Path:
        assert self.options.ranked is not None
        return self.options.ranked

    def _of_settings(
        self, subject: _EvaluationSubject, split: TimeSplit, groups: dict[str, str] | None, progress: Progress
    ) -> Measurement:
        learned = learn(subject.spec, split.train, split.at, progress=progress)
        protocol = self.options.protocol if split is self.split else None
        told = _chosen_in_view(subject, split)
        return measure(
            learned, split, model=self.model.name, rules=subject.rules, protocol=protocol, groups=groups, told=told
        )

    def _of_file(self, groups: dict[str, str] | None) -> Measurement:
        roles, split, protocol = self.graph.roles(self.model), self.split, self.options.protocol
        names = (roles.subject, *USER, roles.item, *ITEM)
        lists = ranked_lists(
            read_table(self._file, text=names),
            catalogue(split),
            sorted({*split.train.users, *split.test.users}),
            name=self._file.name,
            user=roles.subject,
            item=roles.item,
            surrogate=lambda found: self.stores.surrogates.many(roles.subject, found),
        )
        warnings = lists.told(evaluation_users(split, protocol))
        return measure_ranker(lists, split, protocol=protocol, groups=groups, told=warnings)


def _chosen_in_view(subject: _EvaluationSubject, split: TimeSplit) -> list[str]:
    """A warning if the settings were chosen on days of this test."""
    if split.kind != "time" or subject.chosen_before is None or subject.chosen_before <= split.at:
        return []
    day = from_micros(subject.chosen_before).date()
    return [f"the settings of {subject.name} were chosen on days before {day}, some of which are in this test"]


def _subject(
    stores: Stores, graph: ProjectGraph, model: RecommenderDeclaration, name: str, split: TimeSplit
) -> _EvaluationSubject:
    release = named_release(stores, name)
    if release is None:
        rules = model.slate.rules(graph.item_views(model))
        return _EvaluationSubject("the settings of mill.py", choose(model.learn, split.train).spec, rules, None)
    card = release.card
    spec = learner_of(card.learner, card.parameters)
    measured_from = card.evaluation.split_at if card.evaluation else None
    return _EvaluationSubject(release.name, spec, release.rules, measured_from)


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
