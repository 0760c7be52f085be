"""Relearning (retraining): trains a card's model again from its recorded settings, stored code and pinned tables.

Runs in a separate process on a read-only view, and writes only to the given folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import UsageError
from tidemill.core.ports import VectorSearch
from tidemill.core.records.quality import Metric
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.pretrained_folders import keep_pretrained
from tidemill.loop.training.run_tracking import metrics_of
from tidemill.loop.training.train_recommender import learned_bundle, model_named
from tidemill.models import learn
from tidemill.models.learners.auto import Auto
from tidemill.models.learners.registry import learner_of
from tidemill.models.tabular.examples import Examples
from tidemill.training import TabularResult, dataset_fingerprint, measure, split_at, tabular_metrics, train_tabular
from tidemill.training.tabular.automl.auto_plan import plan_from


class RecordedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded model, its learner, all settings, and the split of its test."""

    model: str
    learner: str
    parameters: dict[str, Any] = {}
    #: The split of the test (microseconds); `None`: the default share of the events.
    at: int | None = None
    #: The search back-end that built the bundle's indexes.
    search: str = "exact"


class RelearnOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the retraining: the number of rows, a sha256 over them, and the metrics of its test."""

    n_rows: int
    rows: str = ""
    metrics: dict[str, Metric] = {}


@dataclass(frozen=True)
class _Kind:
    """The functions that retrain and evaluate models of one kind."""

    models: Mapping[str, Any]
    learn: Callable[[ProjectGraph, RecordedSettings, LakeSnapshot, Path, VectorSearch], RelearnOutcome]
    measure: Callable[[ProjectGraph, RecordedSettings, LakeSnapshot], dict[str, Metric]]


def relearn(
    graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
) -> RelearnOutcome:
    """Train it again into the empty `folder`, by the same code path as the training."""
    return _kind(graph, settled.model).learn(graph, settled, view, folder, search)


def measure_again(graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
    """Train with the recorded settings before the split of these rows and evaluate after it."""
    return _kind(graph, settled.model).measure(graph, settled, view)


def _kind(graph: ProjectGraph, model: str) -> _Kind:
    kinds = [
        _Kind(graph.mill.recommenders, _recommender, _measured_recommender),
        _Kind(graph.askings, _tabular, _measured_tabular),
    ]
    for kind in kinds:
        if model in kind.models:
            return kind
    known = ", ".join(sorted(name for kind in kinds for name in kind.models))
    raise UsageError(f"the stored code has no model {model!r} that can be trained again", tip=f"it has: {known}")


def _recommender(
    graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
) -> RelearnOutcome:
    model = replace(model_named(graph, settled.model), learn=learner_of(settled.learner, settled.parameters))
    rules = model.slate.rules(graph.item_views(model))
    result, rows = learned_bundle(graph, model, view, folder, search=search, rules=rules, at=settled.at)
    metrics = metrics_of(result.evaluation) if result.evaluation else {}
    return RelearnOutcome(n_rows=result.n_rows, rows=rows, metrics=metrics)


def _measured_recommender(graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
    model = model_named(graph, settled.model)
    split = split_at(LearningEvents.from_snapshot(graph, model, view).all(), settled.at)
    learned = learn(learner_of(settled.learner, settled.parameters), split.train, split.at)
    rules = model.slate.rules(graph.item_views(model))
    return metrics_of(measure(learned, split, model=model.name, rules=rules).evaluation)


def _tabular(
    graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
) -> RelearnOutcome:
    examples = build_examples(graph, view, graph.askings[settled.model])
    result = _trained(graph, settled, examples, folder)
    keep_pretrained(graph.askings[settled.model], folder)
    return RelearnOutcome(n_rows=result.n_rows, rows=dataset_fingerprint(examples), metrics=_metrics(result))


def _measured_tabular(graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        return _metrics(_trained(graph, settled, build_examples(graph, view, graph.askings[settled.model]), folder))


def _trained(graph: ProjectGraph, settled: RecordedSettings, examples: Examples, folder: Path) -> TabularResult:
    """The plan that `tm.auto()` chose is used as recorded; any other learner is that of the stored code."""
    model = graph.askings[settled.model].model
    learner = plan_from(settled.parameters) if isinstance(model.learn, Auto) else model.learn
    return train_tabular(examples, learner, model=model.name, folder=folder, slices=model.slices, curve=False)


def _metrics(result: TabularResult) -> dict[str, Metric]:
    return tabular_metrics(result.assessment) if result.assessment else {}
