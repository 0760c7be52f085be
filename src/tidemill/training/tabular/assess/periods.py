"""Periods: the main metric by month, beside the metric on the model card and the naive forecast."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from tidemill.core.records.assessment import PeriodScore
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.training.statistics.permutation_test import ALPHA, holm
from tidemill.training.statistics.ratio_estimate import RatioEstimate, ratio_over
from tidemill.training.tabular.assess.losses import MAIN, RowAnswers, main_losses

I64 = npt.NDArray[np.int64]


def by_month(
    told: RowAnswers, naive: RowAnswers, time: I64, group: I64 | None = None, expected: Metric | None = None
) -> tuple[PeriodScore, ...]:
    """The main metric in each month (UTC) of `time`, int64 (n) in microseconds, with at least ten rows.

    `naive` are the predictions of the baseline, and `expected` is the metric on the model card. Its interval and that
    of the month decide whether a month differs from it, with Holm's correction over the months.
    """
    months = time.astype("datetime64[us]").astype("datetime64[M]")
    losses, naive_losses = main_losses(told), main_losses(naive)
    found, p = [], {}
    for month in np.unique(months):
        rows = np.flatnonzero(months == month)
        if len(rows) < FEWEST_USERS:
            continue
        score = ratio_over(rows, losses, unit=group)
        found.append(
            PeriodScore(
                period=str(month),
                n_rows=len(rows),
                score=score.interval(),
                baseline=ratio_over(rows, naive_losses, unit=group).interval(),
                skill=ratio_over(rows, naive_losses - losses, naive_losses, group).interval(),
            )
        )
        if expected is not None:
            p[str(month)] = _p(score, expected)
    stepped = holm(p)
    return tuple(
        msgspec.structs.replace(one, versus_card=_versus(one.score, expected, stepped[one.period]))
        if expected is not None
        else one
        for one in found
    )


def _p(score: RatioEstimate, expected: Metric) -> float:
    spread = np.hypot(score.spread, (expected.high - expected.low) / (2 * ndtri(0.975)))
    return float(2 * ndtr(-abs(score.value - expected.value) / spread)) if 0 < spread < np.inf else 1.0


def _versus(score: Metric, expected: Metric, p: float) -> str:
    inside = expected.low <= score.value <= expected.high
    return "even" if inside or p >= ALPHA else "worse" if score.value > expected.value else "better"


def of_months(periods: Sequence[PeriodScore], told: RowAnswers, expected: Metric | None, release: str) -> str:
    """A sentence on the months beside the card: how many are as expected, and the others."""
    if not periods or expected is None:
        return ""
    words = MAIN[told.task].replace("_", " ")
    card = f"{expected.value:.4g} ({expected.low:.4g} to {expected.high:.4g}) on the card of {release}"
    left = [one for one in periods if one.versus_card in ("worse", "better")]
    if not left:
        months = f"{len(periods)} months" if len(periods) > 1 else "one month"
        return f"By month, {words} is not significantly different from {card} in any of {months}."
    named = ", ".join(f"{one.period} {one.score.value:.4g} ({one.versus_card})" for one in left)
    return f"By month, {words} differs significantly from {card} in {len(left)} of {len(periods)}: {named}."
