"""Model family: what differs between kinds of models when a model is trained, evaluated or trained again.

A family is found by the entry point group `tidemill.families`. The flows (`train`, `evaluate`, and the reproduction)
are the same for all families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from tidemill.core.clock import to_micros
from tidemill.core.errors import UnknownName, nearest
from tidemill.core.installed_packages import entry_points, only_one
from tidemill.core.ports import Lease, VectorSearch
from tidemill.core.progress import Progress
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import Signature
from tidemill.governance.reproduction import AnswerComparison
from tidemill.lake import LakeSnapshot
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.training import PerUnitMetrics, SearchBudget
from tidemill.training import Protocol as EvaluationProtocol

GROUP = "tidemill.families"
NO_RULES = RuleSet(retrieve=())


class ModelDeclaration(Protocol):
    """What every declaration of a model in mill.py has."""

    @property
    def name(self) -> str: ...
    @property
    def helps(self) -> str: ...
    @property
    def could_harm(self) -> str: ...
    @property
    def log(self) -> Literal["available", "required"]: ...


@dataclass(frozen=True)
class TrainingInputs:
    """The inputs of a training: a declared model, and the publication on which it is trained."""

    stores: Stores
    graph: ProjectGraph
    name: str
    view: LakeSnapshot
    #: Start of the test (microseconds); `None`: the family's default.
    at: int | None
    effort: SearchBudget
    lease: Lease


@dataclass(frozen=True)
class RunStart:
    """What the run of a training records when it begins."""

    kind: str
    learner: str
    parameters: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    #: Further artefacts by kind, for example the dataset.
    artefacts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedModel:
    """A trained model, written into a bundle's folder, and what the ledger and the run record of it."""

    card: Card
    #: sha256 over the rows that it was trained on.
    rows: str
    refs_in: tuple[str, ...]
    #: The parameters as the run records them.
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    #: Metrics of each user or row; `None` without an evaluation.
    figures: PerUnitMetrics | None
    signature: Signature | None = None
    #: The number of the selected trial.
    best: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseParts:
    """What a release has besides its bundle and card."""

    rules: RuleSet = NO_RULES
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: Mapping[str, bytes] = field(default_factory=dict)


class Training(Protocol):
    """A training of one model. `prepare`, `start`, `fit` and `finish` are called once, in this order."""

    @property
    def model(self) -> ModelDeclaration:
        """The declaration."""
        ...

    @property
    def data(self) -> Mapping[str, int]:
        """Table -> version that it reads."""
        ...

    @property
    def inputs(self) -> TrainingInputs:
        """What it was made from."""
        ...

    @property
    def mark(self) -> str:
        """The fingerprint of everything that the result depends on: with the same one nothing is trained again."""
        ...

    def parts(self) -> ReleaseParts:
        """The rules and modules of a release, as mill.py declares them now."""
        ...

    def prepare(self) -> RunStart:
        """Read what the run records at its beginning."""
        ...

    def fit(self, folder: Path, effort: SearchBudget, progress: Progress) -> FittedModel:
        """Train, evaluate, and write the bundle into the empty `folder`."""
        ...

    def finish(self) -> None:
        """Called after the release was created."""
        ...


def card_of(training: Training, **fields: Any) -> Card:
    """The model card of a training: what is the same for all families, and the `fields` of its result."""
    inputs, model = training.inputs, training.model
    return Card(
        model=model.name,
        helps=model.helps,
        could_harm=model.could_harm,
        data=dict(training.data),
        learned_at=to_micros(inputs.stores.clock.now()),
        as_of=inputs.view.as_of,
        **fields,
    )


class EvaluationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an evaluation; a family rejects the ones that it does not have."""

    #: Start of the test (microseconds).
    at: int | None = None
    protocol: EvaluationProtocol | None = None
    #: A file of ranked lists to evaluate instead of the model.
    ranked: Path | None = None
    #: A column whose values are evaluated separately.
    by: str | None = None
    leave_one_out: bool = False


DEFAULT_OPTIONS = EvaluationOptions()


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of an evaluation: of a recommender in `evaluation`, of a tabular model in `assessment`."""

    notes: tuple[str, ...]
    metrics: Mapping[str, Metric]
    figures: PerUnitMetrics
    evaluation: Evaluation | None = None
    assessment: Assessment | None = None
    #: The same under leave-one-out, which leaks the future; `None` unless requested.
    leave_one_out: Evaluation | None = None


class EvaluationJob(Protocol):
    """An evaluation that is ready to run; `what` is the release, the settings of mill.py, or a file."""

    @property
    def what(self) -> str: ...
    @property
    def learner(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def data(self) -> Mapping[str, int]: ...
    @property
    def n_rows(self) -> int: ...

    def measure(self, progress: Progress) -> EvaluationReport:
        """Compute the metrics."""
        ...


class RecordedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded model, its learner, all settings, and the split of its test."""

    model: str
    learner: str
    parameters: dict[str, Any] = {}
    #: The split of the test (microseconds); `None`: the default share of the rows.
    at: int | None = None
    #: The search back-end that built the bundle's indexes.
    search: str = "exact"


class RelearnOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the retraining: the number of rows, a sha256 over them, and the metrics of its test."""

    n_rows: int
    rows: str = ""
    metrics: dict[str, Metric] = {}


class ModelFamily(Protocol):
    """A kind of models."""

    #: Whether a release has rules of its own, which can be released again without training.
    has_rules: ClassVar[bool]

    def models(self, graph: ProjectGraph) -> Mapping[str, ModelDeclaration]:
        """The models of this family that mill.py declares, by name."""
        ...

    def training(self, inputs: TrainingInputs) -> Training:
        """A training of one of its models."""
        ...

    def evaluation(
        self, stores: Stores, graph: ProjectGraph, name: str, view: LakeSnapshot, options: EvaluationOptions
    ) -> EvaluationJob:
        """An evaluation of a model or a release (`for_you`, `for_you@3`)."""
        ...

    def retrain(
        self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot, folder: Path, search: VectorSearch
    ) -> RelearnOutcome:
        """Train with recorded settings into the empty `folder`, by the same code path as the training."""
        ...

    def measure(self, graph: ProjectGraph, settled: RecordedSettings, view: LakeSnapshot) -> dict[str, Metric]:
        """Train with recorded settings before the split of these rows, and evaluate after it."""
        ...

    def compare(
        self, graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path, search: VectorSearch
    ) -> AnswerComparison:
        """Compare the predictions of two bundles of a model on the same inputs."""
        ...


def families() -> list[ModelFamily]:
    """The installed families."""
    return [only_one(points, "model family").load()() for points in entry_points(GROUP).values()]


def family_of(graph: ProjectGraph, name: str) -> ModelFamily:
    """The family of a declared model; `UnknownName` has the nearest name."""
    known: list[str] = []
    for family in families():
        models = family.models(graph)
        if name in models:
            return family
        known.extend(models)
    raise UnknownName(f"no model {name!r}", tip=nearest(name, known))


def named_release(stores: Stores, name: str) -> Release | None:
    """The release `name` (`churn@3`); for a model's name the champion, else the newest; `None` if there is none."""
    model, at, _ = name.partition("@")
    if at:
        return stores.releases.get(name)
    champion = stores.releases.champion(model)
    return champion or next(iter(stores.releases.all(model)[::-1]), None)
