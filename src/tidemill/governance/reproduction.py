"""Reproduction verdict: whether retraining reproduced the recorded model, and every known cause where it did not.

Nothing is trained or read here. The caller passes the recorded result, the new result, and the differences of the two
environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tidemill.core.record_format import Record

#: The largest difference between predictions that count as equal.
TOLERANCE = 1e-6

What = Literal["data", "code", "environment", "learning"]
Outcome = Literal["bitwise", "tolerance", "reduced", "no"]


class DifferenceCause(Record, frozen=True):
    """A difference from the recorded training."""

    what: What
    says: str


class Reproduction(Record, frozen=True):
    """The verdict on a run or a release."""

    #: `run:for_you@3` or `release:for_you@3`.
    about: str
    outcome: Outcome
    #: The verdict as a sentence.
    says: str
    #: Causes of the outcome `no`; otherwise empty.
    causes: tuple[DifferenceCause, ...] = ()
    #: Differences that had no effect on the outcome.
    differences: tuple[DifferenceCause, ...] = ()
    #: sha256 of the recorded bundle, and of the new bundle (empty: none).
    recorded: str = ""
    made: str = ""
    #: Number of compared predictions, and their largest difference; `None` where no comparison was needed.
    answers: int = 0
    largest: float | None = None
    #: Rows that were erased after the recorded training.
    erased_rows: int = 0
    #: Steps that were taken from the record instead of repeated.
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the model was reproduced."""
        return self.outcome != "no"


@dataclass(frozen=True)
class LearningResult:
    """A training result: sha256 of the bundle, number of rows, and a sha256 over the rows (empty: unknown)."""

    bundle: str
    n_rows: int
    rows: str = ""


@dataclass(frozen=True)
class AnswerComparison:
    """Predictions of two bundles for the same requests."""

    #: Number of predictions, what they are (`lists of users`), the largest difference (`None`: not a number, or shapes
    #: differ), and the number of different predictions.
    n: int
    what: str
    largest: float | None
    others: int

    @property
    def same(self) -> bool:
        """Whether all predictions are the same within the tolerance."""
        return bool(self.n) and not self.others and self.largest is not None and self.largest <= TOLERANCE

    @property
    def by(self) -> str:
        """The largest difference as text."""
        return "an unbounded difference" if self.largest is None else f"{self.largest:.1e}"


def judge(
    about: str,
    recorded: LearningResult,
    made: LearningResult | None,
    *,
    compared: AnswerComparison | None = None,
    erased: bool = False,
    blocked: Sequence[DifferenceCause] = (),
    differences: Sequence[DifferenceCause] = (),
) -> Reproduction:
    """The verdict from the `recorded` result and the result `made` now (`None`: retraining was not possible).

    `blocked`: why retraining was not possible. `differences` are those of the environments: they are causes only if
    the outcome differs. `erased`: the ledger has a later erasure, which explains missing rows.
    """
    if made is None or blocked:
        return _no(about, recorded, None, blocked or differences, None)
    if made.bundle == recorded.bundle:
        says = f"bitwise: the bundle is again {made.bundle[:12]}…"
        return Reproduction(
            about=about, outcome="bitwise", says=says, differences=tuple(differences),
            recorded=recorded.bundle, made=made.bundle,
        )  # fmt: skip
    missing = recorded.n_rows - made.n_rows
    if erased and missing > 0:
        says = f"reduced by {missing:,} erased rows: it was trained on the remaining {made.n_rows:,} rows"
        return _but(about, "reduced", says, recorded, made, compared, differences, erased_rows=missing)
    if compared is not None and compared.same:
        differ = f"differ by at most {compared.by}" if compared.largest else "are equal, but the bundle's bytes differ"
        says = f"within tolerance on golden rows: {compared.n:,} {compared.what} {differ}"
        return _but(about, "tolerance", says, recorded, made, compared, differences)
    return _no(about, recorded, made, [*_of_rows(recorded, made), *differences], compared)


def _of_rows(recorded: LearningResult, made: LearningResult) -> list[DifferenceCause]:
    if made.n_rows != recorded.n_rows:
        message = f"{made.n_rows:,} rows were read, but the recorded training had {recorded.n_rows:,}"
        return [DifferenceCause(what="data", says=message)]
    if recorded.rows and made.rows != recorded.rows:
        return [
            DifferenceCause(
                what="data", says="the rows have other values or another order than those of the recorded training"
            )
        ]
    return []


def _no(
    about: str,
    recorded: LearningResult,
    made: LearningResult | None,
    causes: Sequence[DifferenceCause],
    compared: AnswerComparison | None,
) -> Reproduction:
    all_causes = tuple(causes) or (
        DifferenceCause(
            what="learning", says="rows, code and environment are the same, but training gives another result"
        ),
    )
    reasons = "; ".join(cause.says for cause in all_causes)
    if compared is not None:
        reasons += f"; {compared.others:,} of {compared.n:,} {compared.what} differ, by up to {compared.by}"
    return Reproduction(
        about=about, outcome="no", says=f"not reproduced: {reasons}", causes=all_causes, recorded=recorded.bundle,
        made=made.bundle if made else "", answers=compared.n if compared else 0,
        largest=compared.largest if compared else None,
    )  # fmt: skip


def _but(
    about: str,
    outcome: Outcome,
    says: str,
    recorded: LearningResult,
    made: LearningResult,
    compared: AnswerComparison | None,
    differences: Sequence[DifferenceCause],
    *,
    erased_rows: int = 0,
) -> Reproduction:
    return Reproduction(
        about=about, outcome=outcome, says=says, differences=tuple(differences), recorded=recorded.bundle,
        made=made.bundle, answers=compared.n if compared else 0, largest=compared.largest if compared else None,
        erased_rows=erased_rows,
    )  # fmt: skip


def compare_numbers(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> AnswerComparison:
    """Compare numeric predictions, float64 (n,) or (n, k), by the tolerance: absolute up to 1, relative above.

    >>> compare_numbers(np.array([0.5, 0.25]), np.array([0.5, 0.25 + 1e-9])).same
    True
    """
    if before.shape != after.shape:
        return AnswerComparison(len(before), "predictions", None, max(len(before), len(after)))
    apart = np.where(np.isnan(before) & np.isnan(after), 0.0, np.abs(before - after) / np.maximum(np.abs(before), 1.0))
    apart = np.where(np.isnan(apart), np.inf, apart).reshape(len(before), -1).max(axis=1, initial=0.0)
    largest = float(apart.max(initial=0.0))
    others = int((apart > TOLERANCE).sum())
    return AnswerComparison(len(before), "predictions", largest if np.isfinite(largest) else None, others)


def compare_lists(
    before: Sequence[Sequence[tuple[str, float]]], after: Sequence[Sequence[tuple[str, float]]]
) -> AnswerComparison:
    """Compare ranked lists of (item, score), best first, one for each user.

    Items with scores that are equal within the tolerance may swap positions, also across the end of a list.

    >>> compare_lists([[("a", 0.5), ("b", 0.5)]], [[("b", 0.5), ("a", 0.5)]]).others
    0
    """
    gaps = [_largest_gap(one, two) for one, two in zip(before, after, strict=True)]
    return AnswerComparison(
        len(gaps), "lists of users", max(gaps, default=0.0), sum(1 for gap in gaps if gap > TOLERANCE)
    )


def _largest_gap(before: Sequence[tuple[str, float]], after: Sequence[tuple[str, float]]) -> float:
    """The largest difference of a score, by rank and by item; items missing from a shorter list count as 0."""
    ranks = [abs(one[1] - two[1]) for one, two in zip(before, after, strict=False)]
    first, second = dict(before), dict(after)
    edge = min(before[-1][1], after[-1][1]) if len(before) == len(after) and before else 0.0
    items = [abs(first.get(item, edge) - second.get(item, edge)) for item in {*first, *second}]
    return max([*ranks, *items], default=0.0)
