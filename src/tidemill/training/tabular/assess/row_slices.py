"""Slices of rows: loss, calibration and skill on the rows with one value of a column, and the weakest ones.

A high loss alone may only mean that a slice is hard for any model: where half of the rows are positive, or counts are
large. Skill is therefore measured against the slice's own prior, and calibration compares its mean prediction with its
mean outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import FEWEST_USERS, Metric, SliceResult
from tidemill.training.statistics.permutation_test import ALPHA, random_assignment
from tidemill.training.statistics.ratio_estimate import ratio_over
from tidemill.training.statistics.slices import corrected, worst
from tidemill.training.tabular.assess.losses import MAIN, RowAnswers, main_losses, prior_losses
from tidemill.training.tabular.assess.slice_columns import SliceColumn

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Metrics of a slice besides the main one. Calibration: `model` is the mean prediction, `baseline` the mean outcome.
#: Skill: the share of the loss of the slice's own prior that the model saves; `baseline` is the skill elsewhere.
CALIBRATION, SKILL = "calibration", "skill"


def row_slices(cuts: Sequence[SliceColumn], told: RowAnswers, group: I64 | None = None) -> tuple[SliceResult, ...]:
    """Every slice of at least ten rows that leaves ten others, compared with these by loss, calibration and skill.

    Rows of one `group`, int64 (n), count as one observation.
    """
    losses, (predicted, observed) = main_losses(told), told.sides
    return corrected(
        _slice(cut, place, told, losses, predicted, observed, group)
        for cut in cuts
        for place in _shown(cut, len(losses))
    )


def _shown(cut: SliceColumn, n_rows: int) -> Iterator[int]:
    n = np.bincount(cut.code, minlength=len(cut.values))
    yield from np.flatnonzero((n >= FEWEST_USERS) & (n_rows - n >= FEWEST_USERS)).tolist()


def _slice(
    cut: SliceColumn, place: int, told: RowAnswers, losses: F64, predicted: F64, observed: F64, group: I64 | None
) -> SliceResult:
    measure = MAIN[told.task]
    inside = cut.code == place
    own, rest = np.flatnonzero(inside), np.flatnonzero(~inside)
    loss, loss_rest = ratio_over(own, losses, unit=group), ratio_over(rest, losses, unit=group)
    bias = ratio_over(own, predicted - observed, unit=group)
    prior = np.empty(len(losses))
    prior[own], prior[rest] = (prior_losses(told.task, told.target[rows], told.n_classes) for rows in (own, rest))
    saved = prior - losses
    skill, skill_rest = (ratio_over(rows, saved, prior, group) for rows in (own, rest))
    apart, less = loss.minus(loss_rest), skill.minus(skill_rest)
    found = SliceResult(
        family=cut.column, users=cut.values[place], n_users=len(own),
        model={
            measure: loss.interval(), CALIBRATION: ratio_over(own, predicted, unit=group).interval(),
            SKILL: skill.interval(),
        },
        baseline={
            measure: loss_rest.interval(), CALIBRATION: ratio_over(own, observed, unit=group).interval(),
            SKILL: skill_rest.interval(),
        },
        difference={measure: apart.interval(), CALIBRATION: bias.interval(), SKILL: less.interval()},
        p={
            measure: max(apart.p(), random_assignment(losses, inside)),
            CALIBRATION: max(bias.p(), random_assignment(predicted - observed, inside)),
            SKILL: max(less.p(), random_assignment(saved - skill_rest.value * prior, inside)),
        },
    )  # fmt: skip
    if not all(_varies(told, rows) for rows in (own, rest)):
        for part in (found.model, found.baseline, found.difference, found.p):
            del part[SKILL]  # of nearly equal targets the prior loses nothing, so there is no share of it to save
    return found


def _varies(told: RowAnswers, rows: I64) -> bool:
    """Whether targets differ: of classes, whether ten rows are not of the most frequent one."""
    target = told.target[rows]
    if told.task in ("binary", "classes"):
        return len(target) - int(np.bincount(target.astype(np.int64)).max()) >= FEWEST_USERS
    return bool(np.ptp(target) > 0)


def weakest(slices: Sequence[SliceResult], measure: str) -> str:
    """Sentences on the worst slice by calibration, by skill, and by loss."""
    notes = {(one.family, one.users): note for one in slices if (note := _harder(one, measure))}
    loss = worst(slices, measure, of="rows", against="elsewhere", less=True, notes=notes, label="Highest loss")
    return " ".join((*_miscalibrated(slices), *_unskilled(slices), loss))


def _miscalibrated(slices: Sequence[SliceResult]) -> Iterator[str]:
    beyond = [one for one in slices if one.p_holm[CALIBRATION] < ALPHA]
    if not beyond and slices:
        yield f"None of {len(slices)} slices is significantly miscalibrated."
    if beyond:
        found = max(beyond, key=lambda one: _least(one.difference[CALIBRATION]))
        yield (
            f"Worst calibrated slice: {_named(found)}, mean prediction {found.model[CALIBRATION].value:.4g} against "
            f"{found.baseline[CALIBRATION].value:.4g} observed, {_by(found, CALIBRATION)}; {len(beyond)} of "
            f"{len(slices)} slices are significantly miscalibrated."
        )


def _unskilled(slices: Sequence[SliceResult]) -> Iterator[str]:
    slices = [one for one in slices if SKILL in one.model]
    beyond = [one for one in slices if one.p_holm[SKILL] < ALPHA and one.difference[SKILL].high < 0]
    if not beyond and slices:
        yield f"None of {len(slices)} slices has significantly less skill (loss against the slice's own prior)."
    if beyond:
        found = min(beyond, key=lambda one: one.difference[SKILL].high)
        yield (
            f"Slice with the least skill: {_named(found)}, the model saves {found.model[SKILL].value:.1%} of the loss "
            f"of its own prior, against {found.baseline[SKILL].value:.1%} elsewhere, {_by(found, SKILL)}; "
            f"{len(beyond)} of {len(slices)} slices have significantly less skill."
        )


def _least(difference: Metric) -> float:
    return max(difference.low, -difference.high)


def _named(one: SliceResult) -> str:
    return f"{one.family}: {one.users} ({one.n_users:,} rows)"


def _by(one: SliceResult, name: str) -> str:
    found: Mapping[str, Metric] = one.difference
    return (
        f"a difference of {found[name].value:+.3g} ({found[name].low:+.3g} to {found[name].high:+.3g}), Holm p = "
        f"{one.p_holm[name]:.2g}"
    )


def _harder(one: SliceResult, measure: str) -> str:
    """The losses of the priors, if that of the slice is higher: then any model loses more there."""
    if SKILL not in one.model:
        return ""
    own, rest = (side[measure].value / max(1 - side[SKILL].value, 1e-12) for side in (one.model, one.baseline))
    return f", where the prior of these rows loses {own:.4g} and that of the others {rest:.4g}" if own > rest else ""
