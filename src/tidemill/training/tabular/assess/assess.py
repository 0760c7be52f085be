"""Assessment of a tabular model on held-out rows: metrics with intervals, slices, fairness, calibration, curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.core.records.assessment import Assessment, EnsembleMember
from tidemill.core.records.quality import FEWEST_USERS, MetricScore
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.tabular.assess.calibration import bins_of, calibration_error
from tidemill.training.tabular.assess.evaluation_charts import evaluation_charts
from tidemill.training.tabular.assess.fairness import gaps_of
from tidemill.training.tabular.assess.feature_importance import influences_of
from tidemill.training.tabular.assess.learning_curve import LearningCurve
from tidemill.training.tabular.assess.losses import MAIN, RowAnswers
from tidemill.training.tabular.assess.model_answers import answers_of
from tidemill.training.tabular.assess.row_slices import row_slices, weakest
from tidemill.training.tabular.assess.scores import scores_of
from tidemill.training.tabular.assess.slice_columns import SliceColumn, declared_slice_columns, default_slice_columns

Progress = Callable[[str, dict[str, Any]], None]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
#: A model and its name.
Named = tuple[str, RowModel]
#: Attributes, or attribute -> reference group.
Fairness = Sequence[str] | Mapping[str, str]

#: Metrics above these are suspiciously high and cause a warning.
_TOO_GOOD = {"auc": 0.995, "macro_auc": 0.995, "r2": 0.995}


@dataclass(frozen=True, eq=False)
class Rival:
    """The champion in a comparison: its predictions for `rows` of the test, int64 (k), or for all; if any, `refits`."""

    name: str
    #: How it is compared, or why not, as a sentence.
    says: str = ""
    told: RowAnswers | None = None
    rows: I64 | None = None
    refits: tuple[RowAnswers, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestSetting:
    """How the test was made: the protocol in words, the first instant of the test, the number of training rows."""

    protocol: str = "the given rows"
    split_at: int | None = None
    n_train: int = 0
    warnings: tuple[str, ...] = ()


def assess(
    model: RowModel,
    test: Examples,
    *,
    baseline: Named,
    setting: TestSetting | None = None,
    slices: Sequence[str] = (),
    fairness: Fairness = (),
    out_of_fold: tuple[Examples, F64] | None = None,
    champion: Rival | None = None,
    refits: Sequence[RowAnswers] = (),
    members: Sequence[EnsembleMember] = (),
    curve: LearningCurve | None = None,
    draws: Bootstrap | None = None,
    seed: int = 0,
) -> Assessment:
    """Assess `model` on `test` (held-out rows), compared with `baseline` and, if possible, with the `champion`.

    `slices` are attributes or inputs to slice by in addition to the default ones, `fairness` the attributes whose
    groups are compared, or attribute -> reference group ("" for none). `out_of_fold` are more rows for these gaps,
    followed by the test rows, and the predictions of the former, float64 (n) or (n, k). Intervals are over rows, or
    over groups if rows have them; with the predictions of `refits` also over the seeds of training. Raises
    `UnknownName` for an unknown column.
    """
    setting = setting or TestSetting()
    draws = draws or Bootstrap(len(test), test.group, seed=seed)
    predictions = answers_of(model, test)
    scores = scores_of(predictions, answers_of(baseline[1], test), draws, refits)
    cuts = _cuts(test, slices, fairness)
    measure = MAIN[test.task]
    parts = row_slices(cuts, predictions, test.group)
    everyone, told = test, predictions
    if out_of_fold is not None:
        everyone = out_of_fold[0]
        answer = np.concatenate((out_of_fold[1], predictions.answer))
        told = RowAnswers(test.task, answer, everyone.target, predictions.threshold)
    gaps = gaps_of(declared_slice_columns(everyone, list(fairness)), told, everyone.group, _references(fairness))
    beside = _beside(champion, predictions, test, draws, refits)
    return Assessment(
        task=test.task,
        measure=measure,
        baseline=baseline[0],
        protocol=setting.protocol,
        split_at=setting.split_at,
        n_train=setting.n_train,
        n_test=len(test),
        scores=scores,
        prevalence=None if test.task == "classes" else float(test.target.mean()),
        bins=bins_of(predictions, draws),
        calibration_error=calibration_error(predictions, draws),
        curve=curve.points if curve else (),
        curve_says=curve.says if curve else "",
        slices=parts,
        worst=weakest(parts, measure),
        gaps=gaps.gaps,
        gaps_say=gaps.says,
        gaps_n=len(everyone) if gaps.gaps else 0,
        influences=influences_of(model, test),
        members=tuple(members),
        charts=evaluation_charts(predictions, test.classes),
        beside_champion=beside,
        champion=champion.name if champion else "",
        champion_says=champion.says if champion else "",
        n_fits=1 + len(refits),
        warnings=(
            *setting.warnings,
            *_implausible(scores),
            *_few(draws),
            *(champion.warnings if champion else ()),
        ),
    )


def _references(fairness: Fairness) -> Mapping[str, str]:
    return fairness if isinstance(fairness, Mapping) else {}


def _cuts(test: Examples, slices: Sequence[str], fairness: Fairness) -> list[SliceColumn]:
    declared = declared_slice_columns(test, list(dict.fromkeys([*slices, *fairness])))
    named = {cut.column for cut in declared}
    return [*declared, *(cut for cut in default_slice_columns(test) if cut.column not in named)]


def _beside(
    rival: Rival | None, predictions: RowAnswers, test: Examples, draws: Bootstrap, refits: Sequence[RowAnswers]
) -> tuple[MetricScore, ...]:
    """The scores compared with the champion's, if there is anything to compare."""
    if rival is None or rival.told is None:
        return ()
    if rival.rows is not None:
        group = None if test.group is None else test.group[rival.rows]
        draws = Bootstrap(len(rival.rows), group)
        predictions, refits = predictions.take(rival.rows), [one.take(rival.rows) for one in refits]
    return scores_of(predictions, rival.told, draws, refits, rival.refits)


def _implausible(scores: Sequence[MetricScore]) -> tuple[str, ...]:
    return tuple(
        f"{score.name} is {score.model.value:.4f}, which is suspiciously high: look for inputs that are derived "
        "from the target or known only after it, and for test rows that are also training rows"
        for score in scores
        if score.model.value > _TOO_GOOD.get(score.name, np.inf)
    )


def _few(draws: Bootstrap) -> tuple[str, ...]:
    if draws.units == draws.n or draws.units >= 3 * FEWEST_USERS:
        return ()
    return (f"the test has only {draws.units} groups: intervals over so few groups are too narrow",)


@dataclass(frozen=True)
class RowVerdict:
    """What the model beats, one sentence each, and what it does not beat (empty if nothing)."""

    beats: tuple[str, ...]
    stays: str


_STANDINGS = {"better": "beats", "even": "is not significantly better than", "worse": "is worse than"}
#: Nothing was measured.
UNKNOWN = RowVerdict((), "")


def compare_with_champion(assessment: Assessment) -> RowVerdict:
    """Compare the model with baseline and champion by the main metric; better: the interval excludes zero."""
    others = [(f"the baseline ({assessment.baseline})", assessment.scores)]
    if assessment.beside_champion:
        others.append((f"the champion ({assessment.champion})", assessment.beside_champion))
    beats: list[str] = []
    stays: list[str] = []
    for name, scores in others:
        sentence = _sentence(name, scores)
        (beats if scores[0].standing == "better" else stays).append(sentence)
    return RowVerdict(tuple(beats), " ".join(stays))


def _sentence(name: str, scores: Sequence[MetricScore]) -> str:
    score = scores[0]
    difference = score.difference
    said = _STANDINGS[score.standing]
    return (
        f"The model {said} {name}: {score.name.replace('_', ' ')} {score.model.value:.4g} against "
        f"{score.baseline.value:.4g}, a difference of {difference.value:+.2g} ({difference.low:+.2g} to "
        f"{difference.high:+.2g})."
    )
