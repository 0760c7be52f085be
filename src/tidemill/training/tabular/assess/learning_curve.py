"""The learning curve: the plan refitted on fewer rows, and a power law through its errors.

error(n) = floor + scale · n^-power fits most learners over a wide range (Viering & Loog 2023, "The Shape of Learning
Curves"). It is fitted to every resample of the test rows, each time without one of the points, so that the interval
covers the uncertainty of the test and of the few points. Limits of the estimate are reported too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import TidemillError
from tidemill.core.records.assessment import CurvePoint, EnsembleMember
from tidemill.core.records.quality import Metric
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.models.tabular.row_model import RowModel
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.tabular.assess.losses import main_losses
from tidemill.training.tabular.assess.model_answers import answers_of, refit_answers
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.splits import uniform

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

SHARES = (0.01, 0.03, 0.1, 0.3)
#: Minimum training rows of a point; minimum points of a curve.
FEWEST_ROWS, FEWEST_POINTS = 50, 4
_POWERS = np.linspace(0.05, 1.5, 30)


@dataclass(frozen=True)
class LearningCurve:
    """The points by rising number of rows, and a sentence about them."""

    points: tuple[CurvePoint, ...]
    says: str


def learning_curve(
    plan: LearnPlan,
    train: Examples,
    test: Examples,
    model: RowModel,
    draws: Bootstrap,
    *,
    cpu_s: float,
    measure: str,
    members: Sequence[EnsembleMember] = (),
    seed: int = 0,
    progress: Callable[[str, dict[str, Any]], None] = lambda step, figures: None,
) -> LearningCurve:
    """Scores of the plan fitted on 1, 3, 10 and 30% of the rows, each share within the next, on the same test rows.

    Shares are random (of whole groups if there are groups) and independent of the split, because the age of the rows
    must not change along the curve. `model` was fitted on `train` in `cpu_s` seconds. `members` tell if time ran out.
    """
    found = []
    for fewer in _fewer(plan, train, test, seed):
        found.append(fewer)
        progress("curve", {"rows": fewer.n_rows, measure: float(fewer.losses.mean()), "cpu_s": fewer.cpu_s})
    found.append(_CurveFit(1.0, len(train), main_losses(answers_of(model, test)), cpu_s))
    drawn = draws.means(np.column_stack([each.losses for each in found]))  # (draws, points)
    points = [
        CurvePoint(
            share=each.share, n_rows=each.n_rows, cpu_s=each.cpu_s,
            score=interval(float(each.losses.mean()), drawn[:, i]),
        )
        for i, each in enumerate(found)
    ]  # fmt: skip
    return LearningCurve(tuple(points), curve_message(points, drawn, measure, members))


@dataclass(frozen=True, eq=False)
class _CurveFit:
    share: float
    n_rows: int
    losses: F64
    cpu_s: float


def _fewer(plan: LearnPlan, train: Examples, test: Examples, seed: int) -> Iterator[_CurveFit]:
    """The plan fitted on each share that has enough rows and every class."""
    for share in SHARES:
        places = nested_share(train, share)
        few = train.take(places)
        lacking = train.task in ("binary", "classes") and len(np.unique(few.target)) < len(np.unique(train.target))
        if len(places) < FEWEST_ROWS or lacking:
            continue
        began = time.process_time()
        try:
            told = refit_answers(plan, few, test, seed=seed)
        except TidemillError:  # too few rows for this plan: the curve starts at a larger share
            continue
        cpu_s = time.process_time() - began
        yield _CurveFit(share, len(places), main_losses(told), cpu_s)


def nested_share(train: Examples, share: float) -> I64:
    """Indices of a random share of the rows, int64, ascending; a smaller share is part of a larger one."""
    names = row_names(train) if train.group is None else train.group.astype(np.int64).view(np.uint64)
    return np.flatnonzero(uniform(names, salt=11) < share)


def curve_message(
    points: Sequence[CurvePoint], drawn: F64, measure: str, members: Sequence[EnsembleMember] = ()
) -> str:
    """The effect of twice the rows on the metric, with its interval; `drawn` is float64 (draws, points)."""
    words = measure.replace("_", " ")
    if len(points) < FEWEST_POINTS:
        return (
            f"Not enough rows for a learning curve: the effect of more rows on {words} is unknown. {_of_time(members)}"
        )
    n = np.array([point.n_rows for point in points], np.float64)
    value = np.array([[point.score.value for point in points]])
    gain = interval(float(_gain(n, value)[0]), _with_one_left_out(n, drawn))
    gain = Metric(value=gain.value, low=min(gain.low, gain.value), high=max(gain.high, gain.value))
    steps = [interval(0.0, drawn[:, i + 1] - drawn[:, i]) for i in range(len(points) - 1)]
    said = _of_rows(gain, points[-1], words, (steps[-1].high - steps[-1].low) / 2)
    if any(step.low > 0 for step in steps):
        said += " The errors do not fall steadily along the curve, so this is a rough estimate."
    return f"{said} {_of_time(members)}".strip()


def _of_rows(gain: Metric, last: CurvePoint, words: str, noise: float) -> str:
    by = f"{gain.value:.2g} ({max(gain.low, 0):.2g} to {gain.high:.2g})"
    at = f"from {last.score.value:.4g} at {last.n_rows:,} rows"
    if gain.high <= 0.01 * abs(last.score.value):
        return f"Twice the rows would hardly lower {words} {at}: by about {by}, if the trend continues."
    sure = "" if gain.low > 0 else " It may already be flat."
    small = " That is less than this test can detect." if gain.value < noise else ""
    return f"Twice the rows would lower {words} {at} by about {by}, if the trend continues.{sure}{small}"


def _of_time(members: Sequence[EnsembleMember]) -> str:
    """The effect of more time; it is only known whether the deadline stopped anything."""
    late = [member.name for member in members if member.state == "late"]
    if late:
        return f"The deadline stopped {', '.join(late)}: more time might help."
    failed = {member.says: None for member in members if member.state == "failed"}
    if failed:
        names = ", ".join(member.name for member in members if member.state == "failed")
        return f"The deadline stopped nothing, but {names} could not be fitted: {'; '.join(failed)}."
    return "The deadline stopped nothing, so more time alone would change nothing." if members else ""


def _with_one_left_out(n: F64, drawn: F64) -> F64:
    """The gain in each resample, fitted without one point: each in turn, but never the last."""
    found = np.empty(len(drawn))
    k = len(n)
    for left in range(k - 1):
        rows = np.arange(left, len(drawn), k - 1)
        keep = np.arange(k) != left
        found[rows] = _gain(n[keep], drawn[rows][:, keep])
    return found


def _gain(n: F64, errors: F64) -> F64:
    """error(n) - error(2n) at the largest n by the best power law, float64 (d); `errors` is (d, points).

    The points are weighted by the root of their rows, because errors at few rows predict little about larger ones.
    """
    weight = np.sqrt(n) / np.sqrt(n).sum()
    best, gain = np.full(len(errors), np.inf), np.zeros(len(errors))
    for power in _POWERS:
        x = (n / n[-1]) ** -power
        middle = x @ weight
        spread = (x - middle) ** 2 @ weight
        mean = errors @ weight
        scale = np.maximum(((errors - mean[:, None]) * (x - middle)) @ weight / spread, 0.0)
        floor = mean - scale * middle
        through_zero = (errors * x) @ weight / (x**2 @ weight)  # errors are never negative
        scale = np.where(floor < 0, through_zero, scale)
        floor = np.maximum(floor, 0.0)
        missed = ((errors - floor[:, None] - scale[:, None] * x) ** 2) @ weight
        closer = missed < best
        best = np.where(closer, missed, best)
        gain = np.where(closer, scale * (1 - 2.0**-power), gain)
    return gain
