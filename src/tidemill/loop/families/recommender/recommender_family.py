"""Recommender family: models that rank items for a user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill.core.errors import ImportRefused
from tidemill.core.ports import VectorSearch
from tidemill.core.records.gate import GateCheck
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Release
from tidemill.loop.families import recommender
from tidemill.loop.families.model_family import (
    EvaluationOptions,
    ModelFamily,
    RecordedSettings,
    RelearnOutcome,
    ServingSources,
    TrainingInputs,
    code_check,
)
from tidemill.models import load_functions, open_recommender
from tidemill.release import Pointer, module_sources
from tidemill.serving.recommend.predictor import Predictor, PredictorSources
from tidemill.serving.recommend.user_history import UserHistories

if TYPE_CHECKING:
    from tidemill.governance.reproduction import AnswerComparison
    from tidemill.lake import LakeSnapshot
    from tidemill.loop.families.recommender import RecommenderTraining
    from tidemill.loop.families.recommender.recommender_evaluation import RecommenderEvaluation
    from tidemill.loop.project.graph import ProjectGraph
    from tidemill.loop.project.stores import Stores


class RecommenderFamily(ModelFamily):
    """Recommenders, which rank items for a user."""

    name: ClassVar = "recommender"
    has_rules: ClassVar = True

    def training(self, inputs: TrainingInputs) -> RecommenderTraining:
        return recommender.RecommenderTraining(inputs)

    def evaluation(
        self, stores: Stores, graph: ProjectGraph, name: str, view: LakeSnapshot, options: EvaluationOptions
    ) -> RecommenderEvaluation:
        return recommender.prepare_evaluation(stores, graph, name, view, options)

    def retrain(
        self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
    ) -> RelearnOutcome:
        return recommender.retrain(graph, settled, view, folder, search)

    def measure(self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
        return recommender.measured(graph, settled, view)

    def compare(
        self, graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path, search: VectorSearch
    ) -> AnswerComparison:
        return recommender.compare(graph, model, view, before, after, search)

    def predictor(self, pointer: Pointer, sources: ServingSources) -> Predictor:
        release = pointer.release
        functions = load_functions(
            release.rules, module_sources(pointer.release, pointer.modules), release.rule_modules
        )
        histories = UserHistories(sources.latest, release.model, lambda: sources.feeding(release.model))
        reads = PredictorSources(sources.latest, histories, sources.clock, sources.slot_s)
        return Predictor(pointer, open_recommender(Path(pointer.bundle), sources.search), functions, reads)

    def check_bundle(self, release: Release, bundle: Path) -> tuple[GateCheck, ...]:
        if not (bundle / "index").is_dir():
            return (GateCheck(name="index recall", reason="it has no index: search is exact"),)
        reason = "an index that misses its target recall is not kept when the bundle is written"
        return (GateCheck(name="index recall", result="passed", reason=reason),)

    def check_code(self, stores: Stores, graph: ProjectGraph, release: Release) -> tuple[GateCheck, ...]:
        model, trained = graph.recommender(release.model), recommender.trained_release(stores, release)
        found = recommender.declaration_difference(graph, model, release, trained)
        return (code_check("mill.py", found[0] if found else "", "settings and rules are those that it declares"),)

    def imported(self, *arguments: Any, **options: Any) -> Any:
        raise ImportRefused(
            "a recommender cannot be imported: its bundle has the events of its items, which no model file has",
            tip="declare it in mill.py, and train it, if need be with a learner of your own",
        )
