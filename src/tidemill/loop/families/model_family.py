"""Model family: everything that differs between kinds of models, behind one protocol.

A family is found by the entry point group `tidemill.families`. Commands, flows, the server and the console are the
same for all families. A worker of the server loads families too, so they load what trains and evaluates on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from tidemill.core.clock import to_micros
from tidemill.core.errors import BackendMissing, ImportRefused, TypeMismatch, UnknownName, nearest
from tidemill.core.installed_packages import entry_points, only_one
from tidemill.core.library_errors import refuse_limit
from tidemill.core.ports import Latest, Lease, VectorSearch
from tidemill.core.progress import Progress
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.gate import GateCheck
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import Signature
from tidemill.release import Pointer
from tidemill.serving.live.live_model import AnyPredictor
from tidemill.serving.live.server_clock import ServerClock

if TYPE_CHECKING:
    from tidemill.governance.reproduction import AnswerComparison
    from tidemill.lake import LakeSnapshot
    from tidemill.loop.project.declarations import ModelDeclaration
    from tidemill.loop.project.graph import ProjectGraph
    from tidemill.loop.project.stores import Stores
    from tidemill.release import ExportSummary
    from tidemill.training import PerUnitMetrics, SearchBudget
    from tidemill.training import Protocol as EvaluationProtocol
    from tidemill.training.tabular.foreign.foreign_model import ImportDescription, ImportedModel, ImportSource

GROUP = "tidemill.families"
NO_RULES = RuleSet(retrieve=())


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


@dataclass(frozen=True)
class ServingSources:
    """What a predictor reads in a worker, in addition to its release."""

    latest: Latest
    search: VectorSearch
    clock: ServerClock
    slot_s: int
    #: Model -> the streams that feed it.
    feeding: Callable[[str], Sequence[str]]


class ModelFamily(Protocol):
    """A kind of models."""

    #: Its name, which is that of its entry point.
    name: ClassVar[str]
    #: Whether a release has rules of its own, which can be released again without training.
    has_rules: ClassVar[bool]

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

    def predictor(self, pointer: Pointer, sources: ServingSources) -> AnyPredictor:
        """The predictor of a release in a worker of the server."""
        ...

    def check_bundle(self, release: Release, bundle: Path) -> tuple[GateCheck, ...]:
        """Open a verified bundle and test it, before the release goes live."""
        ...

    def check_code(self, stores: Stores, graph: ProjectGraph, release: Release) -> tuple[GateCheck, ...]:
        """Whether a release is what mill.py declares."""
        ...

    def imported(
        self, source: ImportSource, described: ImportDescription, rows: Any, bundle: Path, *, trust_pickle: bool
    ) -> ImportedModel:
        """Write the model at `source` into the empty folder `bundle`; `rows` are the given golden rows, if any."""
        raise ImportRefused(
            f"a model of the family {self.name} cannot be imported: no file format is known for it",
            tip="declare it in mill.py, and train it",
        )

    def export(self, release: Release, bundle: Path, modules: Path | None, folder: Path) -> ExportSummary:
        """Write a release into the new `folder`, to predict without tidemill; its bundle and modules are verified."""
        raise TypeMismatch(
            f"{release.name} is of the family {self.name}, and only tabular models can be exported",
            tip="serve it with: tidemill serve",
        )


def family_named(name: str) -> ModelFamily:
    """The installed family `name`; `BackendMissing` if it is not installed or cannot be loaded."""
    points = entry_points(GROUP)
    if name not in points:
        raise BackendMissing(
            f"the model family `{name}` is not installed: {nearest(name, points)}",
            tip=f"install the package that registers it in the entry point group {GROUP}",
        )
    try:
        family: ModelFamily = only_one(points[name], "model family").load()()
    except (ImportError, AttributeError) as problem:
        refuse_limit(problem)
        raise BackendMissing(
            f"the model family `{name}` cannot be loaded: {problem}", tip="install its package again"
        ) from problem
    return family


def package_of(family: str) -> str | None:
    """Name and version of the package of a family; `None` for tidemill's own."""
    dist = only_one(entry_points(GROUP)[family], "model family").dist
    return f"{dist.name}=={dist.version}" if dist is not None and dist.name != "tidemill" else None


def family_of(graph: ProjectGraph, name: str) -> ModelFamily:
    """The family of a declared model; `UnknownName` has the nearest name."""
    models = graph.mill.models
    if name not in models:
        raise UnknownName(f"no model {name!r}", tip=nearest(name, models))
    return family_named(models[name].family)


def code_check(name: str, warning: str, passed: str) -> GateCheck:
    """A check that warns if there is a `warning`, with the reason in either case."""
    return GateCheck(name=name, result="warning" if warning else "passed", reason=warning or passed)


def named_release(stores: Stores, name: str) -> Release | None:
    """The release `name` (`churn@3`); for a model's name the champion, else the newest; `None` if there is none."""
    model, at, _ = name.partition("@")
    if at:
        return stores.releases.get(name)
    champion = stores.releases.champion(model)
    return champion or next(iter(stores.releases.all(model)[::-1]), None)
