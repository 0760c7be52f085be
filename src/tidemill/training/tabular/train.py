"""Training of a tabular model: select and fit on earlier rows, evaluate on later rows, then refit on all rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.errors import ParityFailed, TargetUnfit, TooLittleData
from tidemill.core.records.assessment import Assessment, EnsembleMember
from tidemill.core.records.quality import Metric
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.input_ranges import write_input_ranges
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_bundle import TABULAR, BundleFormat, parity, write_golden
from tidemill.training.runs.per_unit_metrics import PerUnitMetrics
from tidemill.training.search.search_budget import DEFAULT_BUDGET, SearchBudget
from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.tabular.assess.assess import (
    UNKNOWN,
    Fairness,
    RowVerdict,
    TestSetting,
    assess,
    compare_with_champion,
)
from tidemill.training.tabular.assess.learning_curve import learning_curve
from tidemill.training.tabular.assess.losses import MAIN, RowAnswers
from tidemill.training.tabular.assess.model_answers import answers_of, tabular_figures
from tidemill.training.tabular.assess.out_of_fold import cross_fit
from tidemill.training.tabular.assess.refits import refits_of
from tidemill.training.tabular.assess.shape_functions import shape_functions
from tidemill.training.tabular.assess.target_leakage import target_leakage
from tidemill.training.tabular.champion import LiveChampion, rival_of
from tidemill.training.tabular.resolve_learner import Progress, ResolvedLearner, resolve_learner
from tidemill.training.tabular.rows.golden_rows import Golden, golden_of
from tidemill.training.tabular.rows.splits import Split, SplitRule, split_examples
from tidemill.training.tabular.rows.training_ranges import training_ranges

F64 = npt.NDArray[np.float64]

#: Maximum difference between the predictions of the reopened bundle and of the model in memory.
PARITY = 1e-9


def _silent(step: str, figures: dict[str, Any], /) -> None:
    pass


@dataclass(frozen=True)
class TabularResult:
    """The result of a training: the folder for the bundle, and the facts for the model card."""

    folder: Path
    #: The model fitted on all rows, reopened from the folder.
    model: RowModel
    #: `None` if there are too few rows to evaluate on; `notes` give the reason.
    assessment: Assessment | None
    #: Losses of each test row, for comparison with another run; `None` without an assessment.
    figures: PerUnitMetrics | None
    #: Name and settings of the fitted plan.
    plan: str
    settings: dict[str, Any]
    n_rows: int
    #: What the model beats significantly, one sentence each, and what it does not beat (empty if nothing).
    beats: tuple[str, ...] = ()
    stays: str = ""
    notes: tuple[str, ...] = ()
    members: tuple[EnsembleMember, ...] = ()
    #: Synthetic rows with the model's predictions, stored in the bundle.
    golden: Golden | None = None

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics as recorded in a run; none without an assessment."""
        return self.assessment.metrics() if self.assessment else {}


@dataclass(frozen=True)
class _TrainingRequest:
    """The arguments of `train_tabular`, without the split."""

    examples: Examples
    learn: Any
    effort: SearchBudget
    place: Path
    slices: tuple[str, ...]
    fairness: Fairness
    champion: LiveChampion | None
    curve: bool
    progress: Progress


@dataclass(frozen=True)
class _TestResult:
    settled: ResolvedLearner
    assessment: Assessment | None = None
    figures: PerUnitMetrics | None = None
    verdict: RowVerdict = UNKNOWN
    note: str = ""


def train_tabular(
    examples: Examples,
    learn: Any,
    *,
    model: str,
    folder: Path,
    split: SplitRule | None = None,
    effort: SearchBudget = DEFAULT_BUDGET,
    slices: Sequence[str] = (),
    fairness: Fairness = (),
    champion: LiveChampion | None = None,
    curve: bool = True,
    form: BundleFormat = TABULAR,
    progress: Progress = _silent,
) -> TabularResult:
    """Train `model` with `learn` (`tm.auto()`, a plan or an estimator) and write it into the empty `folder`, in the
    given `form`.

    The evaluated model is chosen and fitted on the training side of `split` alone, by default the earlier 80%; the
    written one is the same plan fitted on all rows. The gaps of `fairness` attributes (see `assess`) are those of all
    rows that a model predicted which was not fitted on them. `champion` is the live model. Without
    `curve` the plan is not refitted on fewer rows. Equal examples, learner and seed give the same bundle and metrics.

    Raises `TooLittleData` without rows, `TargetUnfit` if a row has no target, and `ParityFailed` if the written
    bundle predicts differently from the model.
    """
    if not len(examples):
        raise TooLittleData(f"{model}: there are no rows to train on")
    if unknown := int((~np.isfinite(examples.target)).sum()):
        raise TargetUnfit(
            f"{model}: the target is missing or not a number in {unknown:,} of {len(examples):,} rows",
            tip="leave rows without a target out of the examples",
        )
    request = _TrainingRequest(
        examples, learn, effort, folder.parent, tuple(slices), fairness, champion, curve, progress
    )
    test_result = _measured(request, split)
    plan = test_result.settled.plan
    progress("fit", {"rows": len(examples)})
    fitted = plan.fit(examples, seed=effort.seed).named(examples.target_name)
    golden = golden_of(fitted, examples, seed=effort.seed)
    form.write(fitted, folder)
    if not getattr(learn, "learned_elsewhere", False):
        write_input_ranges(training_ranges(examples), folder)
    opened = form.open(folder)
    if golden is not None:
        write_golden(fitted.inputs, folder, golden)
        progress("export check", {"rows": len(golden[0]), "max difference": _same(opened, golden, model)})
    return TabularResult(
        folder=folder,
        model=opened,
        assessment=_with_shapes(test_result.assessment, opened, examples),
        figures=test_result.figures,
        plan=plan.name,
        settings=plan.settings(),
        n_rows=len(examples),
        beats=test_result.verdict.beats,
        stays=test_result.verdict.stays,
        notes=(*test_result.settled.notes, *([test_result.note] if test_result.note else [])),
        members=test_result.settled.members,
        golden=golden,
    )


def _measured(request: _TrainingRequest, rule: SplitRule | None) -> _TestResult:
    """The plan chosen on the training side of the split, and its assessment on the test side."""
    examples, effort, progress = request.examples, request.effort, request.progress
    try:
        split = split_examples(examples, rule)
    except TooLittleData as little:
        settled = resolve_learner(request.learn, examples, effort, request.place, progress)
        return _TestResult(settled, note=f"not evaluated: {little.message}")
    train, test = examples.take(split.train), examples.take(split.test)
    settled = resolve_learner(request.learn, train, effort, request.place, progress)
    began = time.process_time()
    candidate = settled.plan.fit(train, seed=effort.seed)
    cpu_s = time.process_time() - began
    progress("evaluate", {"rows": len(test), "training rows": len(train), "cpu_s": cpu_s})
    told = answers_of(candidate, test)
    refits = refits_of(settled.plan, train, test, told, seed=effort.seed, cpu_s=cpu_s)
    assessment = _assessed(request, split, settled, candidate, cpu_s, refits)
    main = assessment.main
    progress("measured", {main.name: main.model.value, "baseline": main.baseline.value})
    return _TestResult(settled, assessment, tabular_figures(candidate, test, refits), compare_with_champion(assessment))


def _assessed(
    request: _TrainingRequest,
    split: Split,
    settled: ResolvedLearner,
    candidate: RowModel,
    cpu_s: float,
    refits: Sequence[RowAnswers],
) -> Assessment:
    examples, seed = request.examples, request.effort.seed
    train, test = examples.take(split.train), examples.take(split.test)
    draws = Bootstrap(len(test), test.group, seed=seed)
    curve = None
    if request.curve:
        curve = learning_curve(
            settled.plan, train, test, candidate, draws, cpu_s=cpu_s, measure=MAIN[test.task],
            members=settled.members, seed=seed, progress=request.progress,
        )  # fmt: skip
    return assess(
        candidate,
        test,
        baseline=(settled.baseline.name, settled.baseline.fit(train, seed=seed)),
        setting=TestSetting(split.protocol, split.at, len(split.train), target_leakage(examples, split)),
        slices=request.slices,
        fairness=request.fairness,
        out_of_fold=_out_of_fold(request, split, settled, cpu_s) if request.fairness else None,
        champion=rival_of(request.champion, settled.plan, train, test, seed=seed) if request.champion else None,
        refits=refits,
        members=settled.members,
        curve=curve,
        draws=draws,
    )


def _out_of_fold(
    request: _TrainingRequest, split: Split, settled: ResolvedLearner, cpu_s: float
) -> tuple[Examples, F64] | None:
    """Training rows that were predicted out of fold, followed by the test rows, and the predictions of the former."""
    found = settled.out_of_fold
    if found is None:
        train = request.examples.take(split.train)
        found = cross_fit(settled.plan, train, seed=request.effort.seed, cpu_s=cpu_s)
    if found is None:
        return None
    return request.examples.take(np.concatenate((split.train[found.places], split.test))), found.answer


def _with_shapes(assessment: Assessment | None, released: RowModel, examples: Examples) -> Assessment | None:
    """The assessment with the shape functions of the released model, which is fitted on all rows."""
    if assessment is None or not (shapes := shape_functions(released, examples)):
        return assessment
    classes = released.classes if released.task == "classes" else ()
    charts = msgspec.structs.replace(assessment.charts, shapes=shapes, classes=classes)
    return msgspec.structs.replace(assessment, charts=charts)


def _same(opened: RowModel, golden: Golden, model: str) -> float:
    apart = parity(opened, golden)
    largest = max(1.0, float(abs(golden[1]).max()))
    if not apart <= PARITY * largest:  # NaN fails as well
        raise ParityFailed(
            f"{model}: the written bundle predicts differently from the model in memory, by up to {apart:.2g}",
            tip="report it: this is a bug of tidemill or of a library, not of your project",
        )
    return apart
