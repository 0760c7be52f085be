"""Row family: models that predict from a row of inputs, whatever their learner and the files of their bundle.

A family of your own is a subclass with `name`, `write` and `open`. Its learner names it as `family`, and its model is a
`RowModel`.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill import loop
from tidemill.core.ports import VectorSearch
from tidemill.core.records.gate import GateCheck
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Release
from tidemill.features import OnlineLookup
from tidemill.loop.families import tabular
from tidemill.loop.families.model_family import (
    EvaluationOptions,
    ModelFamily,
    RecordedSettings,
    RelearnOutcome,
    ServingSources,
    TrainingInputs,
    code_check,
)
from tidemill.models.tabular.row_model import RowModel
from tidemill.release import Pointer, module_sources
from tidemill.release.gate import row_model_checks
from tidemill.serving.infer.tabular_predictor import TabularPredictor, TabularSources

if TYPE_CHECKING:
    from tidemill.governance.reproduction import AnswerComparison
    from tidemill.lake import LakeSnapshot
    from tidemill.loop.families.tabular import RowTraining
    from tidemill.loop.families.tabular.row_evaluation import RowEvaluation
    from tidemill.loop.project.graph import ProjectGraph
    from tidemill.loop.project.model_signatures import SignatureSpec
    from tidemill.loop.project.stores import Stores


class RowFamily(ModelFamily):
    """Models that predict from a row."""

    has_rules: ClassVar = False

    @abstractmethod
    def write(self, model: Any, folder: Path) -> None:
        """Write a model into an empty folder, as files that a bundle may have; the same model writes the same bytes."""

    @abstractmethod
    def open(self, folder: Path) -> RowModel:
        """Open what `write` wrote."""

    def training(self, inputs: TrainingInputs) -> RowTraining:
        return tabular.RowTraining(inputs, self)

    def evaluation(
        self, stores: Stores, graph: ProjectGraph, name: str, view: LakeSnapshot, options: EvaluationOptions
    ) -> RowEvaluation:
        return tabular.prepare_evaluation(self, stores, graph, name, view, options)

    def retrain(
        self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
    ) -> RelearnOutcome:
        return tabular.retrain(self, graph, settled, view, folder)

    def measure(self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
        return tabular.measured(self, graph, settled, view)

    def compare(
        self, graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path, search: VectorSearch
    ) -> AnswerComparison:
        return tabular.compare(self, graph, model, view, before, after)

    def predictor(self, pointer: Pointer, sources: ServingSources) -> TabularPredictor:
        signature = pointer.release.signature
        online = OnlineLookup(sources.latest, signature.lookups) if signature and signature.lookups else None
        reads = TabularSources(online, module_sources(pointer.release, pointer.modules), sources.clock, sources.slot_s)
        return TabularPredictor(pointer, self.open(Path(pointer.bundle)), reads)

    def check_bundle(self, release: Release, bundle: Path) -> tuple[GateCheck, ...]:
        return row_model_checks(release, self.open, bundle)

    def check_code(self, stores: Stores, graph: ProjectGraph, release: Release) -> tuple[GateCheck, ...]:
        changed = loop.changed_code(stores, graph, release)
        says = f"the code of {', '.join(changed)} has changed since it was trained, and is already served"
        return (
            code_check(
                "mill.py",
                _other_inputs(graph.askings[release.model], release),
                "inputs and target are those that it declares",
            ),
            code_check("feature code", says if changed else "", "no view's code has changed since it was trained"),
        )


def _other_inputs(asking: SignatureSpec, release: Release) -> str:
    """In which inputs a release differs from mill.py, empty if in none."""
    signature = release.signature
    if signature is None:
        return "it has no signature"
    if signature.target != asking.model.target:
        return f"its target is {signature.target}, and mill.py declares {asking.model.target}"
    has = {(field.name, field.kind) for field in signature.inputs}
    declared = {(field.name, field.kind) for field in asking.inputs}
    names = sorted({name for name, _ in has ^ declared})
    return f"mill.py declares other inputs: {', '.join(names)}" if names else ""
