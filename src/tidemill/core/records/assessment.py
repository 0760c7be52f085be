"""Assessment records of a tabular model, stored in its release: metrics with intervals, slices, fairness.

Every interval is a 95% interval. A metric over fewer than `FEWEST_USERS` rows is never stored.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tidemill.core.record_format import Record
from tidemill.core.records.evaluation_charts import EffectBin, EvaluationCharts
from tidemill.core.records.quality import FEWEST_USERS, Metric, MetricScore, SliceResult
from tidemill.core.records.signature import Task

#: Prefixes of the metrics of a run that are differences from the champion; the second is that of older runs.
VERSUS_CHAMPION = ("vs champion ", "beside champion ")


class CalibrationBin(Record, frozen=True):
    """Rows with similar predictions: mean prediction and observed outcome with its interval."""

    n: int = 0
    low: float = 0.0
    high: float = 0.0
    predicted: float = 0.0
    observed: Metric = Metric()


class SliceScore(Record, frozen=True):
    """A slice as older releases have it; `SliceResult` replaced it."""

    column: str = ""
    value: str = ""
    n: int = 0
    score: Metric = Metric()
    #: Slice minus the other rows, and its p-value after Holm's correction over all slices.
    difference: Metric = Metric()
    p_holm: float = 0.0

    def result(self, measure: str) -> SliceResult:
        """The slice as it is recorded today."""
        rest = self.score.value - self.difference.value
        return SliceResult(
            family=self.column, users=self.value, n_users=self.n, model={measure: self.score},
            baseline={measure: Metric(value=rest, low=rest, high=rest)}, difference={measure: self.difference},
            p_holm={measure: self.p_holm},
        )  # fmt: skip


class GroupPair(Record, frozen=True):
    """Fairness: one metric of two groups. The difference is that of `high` minus `low`."""

    high: str = ""
    low: str = ""
    gap: Metric = Metric()
    #: p after Holm's correction over all pairs, metrics and attributes; and whether the gap is significant.
    p_holm: float = 1.0
    significant: bool = False


class GroupGap(Record, frozen=True):
    """Fairness: the gap of one metric between the groups of a declared attribute."""

    attribute: str = ""
    #: `selection rate`, `true positive rate`, `false positive rate`, `error`, `calibration`, `mean prediction`.
    measure: str = ""
    #: Group -> metric, and group -> number of rows.
    groups: dict[str, Metric] = msgspec.field(default_factory=dict)
    n: dict[str, int] = msgspec.field(default_factory=dict)
    #: The largest significant gap of two large groups, or else the largest, with an interval, and the groups.
    gap: Metric = Metric()
    highest: str = ""
    lowest: str = ""
    #: Whether it is significant; `None` in older releases, whose gaps were not tested one by one.
    significant: bool | None = None
    #: All pairs of large groups, or each large group with the reference group; significant ones first, then by size.
    pairs: tuple[GroupPair, ...] = ()


class CurvePoint(Record, frozen=True):
    """A point of the learning curve: the main metric after training on a share of the rows."""

    share: float = 0.0
    n_rows: int = 0
    score: Metric = Metric()
    cpu_s: float = 0.0


class FeatureImportance(Record, frozen=True):
    """Importance of one input: mean absolute contribution and its share of the total.

    Contributions are SHAP values in the model's margin, or changes of the prediction if values are permuted.
    """

    input: str = ""
    mean_abs: float = 0.0
    share: float = 0.0
    #: Correlation of the input's value with its contribution; `None` for text.
    direction: float | None = None
    #: The contribution by the input's value; empty for several classes, where each row is explained for its own class.
    effect: tuple[EffectBin, ...] = ()
    method: Literal["shap", "permutation"] = "shap"


class EnsembleMember(Record, frozen=True):
    """One candidate model of an AutoML run."""

    name: str = ""
    settings: str = ""
    #: The main metric out of fold or on validation rows; `None` if the candidate did not finish.
    score: Metric | None = None
    cpu_s: float = 0.0
    #: `chosen`, `stacked` (part of the chosen stack), `not selected` (`kept out` in older releases), `late`, `failed`.
    state: str = ""
    says: str = ""


class PeriodScore(Record, frozen=True):
    """The main metric on the rows of one month (UTC), beside the baseline and the model card."""

    #: `2026-03`.
    period: str = ""
    n_rows: int = 0
    score: Metric = Metric()
    baseline: Metric = Metric()
    #: The share of the baseline's loss that the model saves.
    skill: Metric = Metric()
    #: `worse`, `even` or `better` than the metric on the card; empty if it has none.
    versus_card: str = ""


class Assessment(Record, frozen=True):
    """Quality of a tabular model on test rows that were not used for training or model selection."""

    task: Task = "number"
    #: The main metric, first in `scores`.
    measure: str = ""
    baseline: str = ""
    #: Description of the split, and the time of the split (microseconds) if it is by time.
    protocol: str = ""
    split_at: int | None = None
    n_train: int = 0
    n_test: int = 0
    scores: tuple[MetricScore, ...] = ()
    #: Share of the positive class, or mean of the target, on the test rows.
    prevalence: float | None = None
    bins: tuple[CalibrationBin, ...] = ()
    #: Expected calibration error over the bins, weighted by rows; `None` for numbers.
    calibration_error: Metric | None = None
    curve: tuple[CurvePoint, ...] = ()
    #: Expected effect of more rows or more time, in one sentence.
    curve_says: str = ""
    #: Slices of an older release; today they are in `slices`.
    parts: tuple[SliceScore, ...] = ()
    worst: str = ""
    gaps: tuple[GroupGap, ...] = ()
    #: Fairness in sentences; and the rows of its gaps: more than the test rows if there are out-of-fold predictions.
    gaps_say: str = ""
    gaps_n: int = 0
    influences: tuple[FeatureImportance, ...] = ()
    members: tuple[EnsembleMember, ...] = ()
    #: Compared with the champion's predictions on the same rows; empty if no champion can predict them.
    beside_champion: tuple[MetricScore, ...] = ()
    champion: str = ""
    #: How the champion was compared, or why not.
    champion_says: str = ""
    #: Number of fits, with different seeds, of which the intervals of `scores` and `beside_champion` cover the noise.
    n_fits: int = 1
    #: Of an evaluation on later rows: the main metric on the model card, the months, and a sentence on both.
    expected: Metric | None = None
    periods: tuple[PeriodScore, ...] = ()
    periods_say: str = ""
    #: Reasons why the metrics may be too optimistic, such as leakage: sentences with numbers.
    warnings: tuple[str, ...] = ()
    slices: tuple[SliceResult, ...] = ()
    charts: EvaluationCharts = EvaluationCharts()

    @property
    def all_slices(self) -> tuple[SliceResult, ...]:
        """The slices, also of an older release, whose other rows are the slice minus the difference."""
        return self.slices or tuple(part.result(self.measure) for part in self.parts)

    @property
    def main(self) -> MetricScore:
        """The main metric."""
        return self.scores[0]

    def metrics(self) -> dict[str, Metric]:
        """Its metrics as recorded in a run: `log_loss`, `auc`, `difference log_loss`, …, the main one first; none for
        fewer than ten test rows.
        """
        if self.n_test < FEWEST_USERS:
            return {}
        found = {score.name: score.model for score in self.scores}
        found |= {f"difference {score.name}": score.difference for score in self.scores}
        if self.calibration_error is not None:
            found["calibration_error"] = self.calibration_error
        return found | {f"{VERSUS_CHAMPION[0]}{score.name}": score.difference for score in self.beside_champion}
