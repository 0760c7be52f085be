"""Training of a recommender from published interactions, its repetition, and the comparison of two bundles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np

from tidemill.core.canonical import fingerprint
from tidemill.core.ports import VectorSearch
from tidemill.core.processes.memory import gigabytes
from tidemill.core.progress import Progress, no_progress
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Card
from tidemill.governance.reproduction import AnswerComparison, compare_lists
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents, rows_of
from tidemill.loop.families.model_family import (
    FittedModel,
    RecordedSettings,
    RelearnOutcome,
    ReleaseParts,
    RunStart,
    TrainingInputs,
    card_of,
)
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.models import Interactions, learn, open_recommender
from tidemill.models.learners.auto import Auto, learner_packages
from tidemill.models.learners.registry import learner_of
from tidemill.models.recommender.recommender import Recommender
from tidemill.training import (
    PerUnitMetrics,
    SearchBudget,
    TrainResult,
    measure,
    split_at,
    train_recommender,
)
from tidemill.training.search.search_budget import DEFAULT_BUDGET

#: Number of users whose lists are compared, and the length of the lists.
USERS, LENGTH = 300, 20


def retrain(
    graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
) -> RelearnOutcome:
    """Train with recorded settings into the empty `folder`."""
    model = replace(graph.recommender(settled.model), learn=learner_of(settled.learner, settled.parameters))
    result, rows = _train(graph, model, view, folder, search=search, at=settled.at)
    return RelearnOutcome(n_rows=result.n_rows, rows=rows, metrics=_metrics(result))


def measured(graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
    """Train with recorded settings before the split of these events, and evaluate after it."""
    model = graph.recommender(settled.model)
    learner = learner_of(settled.learner, settled.parameters)
    split = split_at(LearningEvents.from_snapshot(graph, model, view).all(learner), settled.at)
    learned = learn(learner, split.train, split.at)
    rules = model.slate.rules(graph.item_views(model))
    return measure(learned, split, model=model.name, rules=rules).evaluation.metrics()


def compare(
    graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path, search: VectorSearch
) -> AnswerComparison:
    """Compare the lists of known users."""
    events, _ = LearningEvents.from_snapshot(graph, graph.recommender(model), view).read()
    users = np.linspace(0, events.n_users - 1, min(USERS, events.n_users)).astype(int).tolist()
    opened = [open_recommender(bundle, search) for bundle in (before, after)]
    found = compare_lists(*([_list(made, events, user) for user in users] for made in opened))
    return replace(found, what=f"lists of {LENGTH} items of users")


def _metrics(result: TrainResult) -> dict[str, Metric]:
    return result.evaluation.metrics() if result.evaluation else {}


@dataclass(frozen=True)
class RecommenderTraining:
    """See `Training`."""

    inputs: TrainingInputs

    @property
    def model(self) -> RecommenderDeclaration:
        return self.inputs.graph.recommender(self.inputs.name)

    @property
    def data(self) -> dict[str, int]:
        return {self.model.interactions: self.inputs.view.versions[self.model.interactions]}

    @cached_property
    def mark(self) -> str:
        learner, effort, engine = self.model.learn, self.inputs.effort, self.inputs.graph.engine
        return fingerprint(
            {
                "learn": msgspec.json.encode(learner).decode(),
                "from": self.data[self.model.interactions],
                "at": self.inputs.at or 0,
                "effort": [effort.seed, effort.trials, str(effort.minutes)],
                "tidemill": metadata.version("tidemill"),
            }
            | ({"engine": engine.name} if not engine.in_process and learner.CAPABILITIES.on_engine else {})
            | ({"sample": str(self.model.sample)} if self.model.sample < 1 else {})
            | ({"packages": packages} if (packages := learner_packages(learner)) else {})
        )

    def parts(self) -> ReleaseParts:
        slate, views = self.model.slate, self.inputs.graph.item_views(self.model)
        return ReleaseParts(slate.rules(views), slate.facts(views), slate.modules())

    def prepare(self) -> RunStart:
        spec = self.model.learn
        kind = "auto" if isinstance(spec, Auto) else "search" if spec.searched() else "train"
        return RunStart(kind, spec.name, spec.told())

    def fit(self, folder: Path, effort: SearchBudget, progress: Progress) -> FittedModel:
        model, view = self.model, self.inputs.view
        search = self.inputs.stores.search()
        result, rows = _train(
            self.inputs.graph, model, view, folder, search=search, at=self.inputs.at, effort=effort, progress=progress
        )
        return FittedModel(
            card=self._card(result),
            rows=rows,
            refs_in=tuple(f"table:{name}@{version}" for name, version in self.data.items()),
            parameters=learner_of(result.learner, result.parameters).told(),
            metrics=_metrics(result),
            figures=PerUnitMetrics.from_measurement(result.measurement) if result.measurement else None,
            best=result.best,
            notes=result.notes,
        )

    def finish(self) -> None:
        pass

    def _card(self, result: TrainResult) -> Card:
        return card_of(
            self,
            learner=result.learner,
            parameters=result.parameters,
            evaluation=result.evaluation,
            n_rows=result.n_rows,
            n_users=result.n_users,
            n_items=result.n_items,
            sample=result.sample,
        )


def _train(
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    view: LakeSnapshot,
    folder: Path,
    *,
    search: VectorSearch,
    at: int | None,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> tuple[TrainResult, str]:
    """Train `model` on `view` into the empty `folder`; returns the result and a sha256 over the rows.

    It only reads the view and writes the folder: a training and its reproduction share this function.
    """
    source = LearningEvents.from_snapshot(graph, model, view)
    memory = gigabytes(source.memory_bytes(model.learn))
    progress("memory", {"model": model.name, "rows": view.rows(model.interactions), "about": memory})
    events = source.all(model.learn)
    progress("learning", {"model": model.name, "rows": len(events), "version": view.versions[model.interactions]})
    rules = model.slate.rules(graph.item_views(model))
    result = train_recommender(
        events, model.learn, model=model.name, as_of=view.as_of, folder=folder, rules=rules, search=search, at=at,
        effort=effort, progress=progress, whole=source.whole() if source.on_engine else None, share=model.sample,
    )  # fmt: skip
    return result, rows_of(events)


def _list(recommender: Recommender, events: Interactions, user: int) -> list[tuple[str, float]]:
    codes, times = events.history(user)
    known = [
        (recommender.codes[events.items[code]], time)
        for code, time in zip(codes.tolist(), times.tolist(), strict=True)
        if events.items[code] in recommender.codes
    ]
    found = recommender.nearest([code for code, _ in known], [time for _, time in known], LENGTH)
    items, scores = found.item.tolist()[:LENGTH], found.score.tolist()[:LENGTH]
    return [(recommender.items[code], float(score)) for code, score in zip(items, scores, strict=True)]
