"""Assessment records of a tabular model, as a release carries them: metrics with intervals, slices, fairness.

Every interval is 95%. A metric of fewer rows than `FEWEST_USERS` is never stored.
"""

from __future__ import annotations

import msgspec

from tidemill.core.record_format import Record
from tidemill.core.records.quality import Metric
from tidemill.core.records.signature import Task


class MetricScore(Record, frozen=True):
    """One measure of the model beside its baseline, on the same rows."""

    #: `auc`, `log_loss`, `brier`, `accuracy`, `mae`, `rmse`, `r2`, `poisson_deviance`, …
    name: str = ""
    higher_is_better: bool = False
    model: Metric = Metric()
    baseline: Metric = Metric()
    #: Model minus baseline, paired over rows (over groups, where there are groups).
    difference: Metric = Metric()


class CalibrationBin(Record, frozen=True):
    """Rows of similar predictions: what was predicted and what came, with its interval."""

    n: int = 0
    low: float = 0.0
    high: float = 0.0
    predicted: float = 0.0
    observed: Metric = Metric()


class SliceScore(Record, frozen=True):
    """The main measure on rows that share a value of one column, and the same on all other rows."""

    column: str = ""
    value: str = ""
    n: int = 0
    score: Metric = Metric()
    #: Part minus the rest, and its p after Holm over all parts.
    difference: Metric = Metric()
    p_holm: float = 0.0


class GroupGap(Record, frozen=True):
    """How differently a model treats the groups of a declared attribute, by one measure."""

    attribute: str = ""
    #: `selection rate`, `true positive rate`, `false positive rate`, `error`, `calibration`, `mean prediction`.
    measure: str = ""
    #: Group -> its figure, and how many rows it has.
    groups: dict[str, Metric] = msgspec.field(default_factory=dict)
    n: dict[str, int] = msgspec.field(default_factory=dict)
    #: Largest minus smallest, with an interval; and which groups those are.
    gap: Metric = Metric()
    highest: str = ""
    lowest: str = ""


class CurvePoint(Record, frozen=True):
    """The main measure after learning from a share of the rows."""

    share: float = 0.0
    n_rows: int = 0
    score: Metric = Metric()
    cpu_s: float = 0.0


class FeatureImportance(Record, frozen=True):
    """How much one input moves the answers: mean absolute SHAP value (in the model's margin) and its share of all."""

    input: str = ""
    mean_abs: float = 0.0
    share: float = 0.0
    #: Correlation of the input's value with its contribution; `None` for texts.
    direction: float | None = None


class EnsembleMember(Record, frozen=True):
    """Something that was tried on the way to the model."""

    name: str = ""
    settings: str = ""
    #: The main measure out of fold, or on validation rows; `None` of what came to no figure.
    score: Metric | None = None
    cpu_s: float = 0.0
    #: `chosen`, `stacked` (part of the chosen stack), `not selected` (`kept out` in older releases), `late`, `failed`.
    state: str = ""
    says: str = ""


class Assessment(Record, frozen=True):
    """How good a tabular model is on rows that no choice has seen."""

    task: Task = "number"
    #: The measure that decides, first among `scores`.
    measure: str = ""
    baseline: str = ""
    #: How the rows were split, in words, and the time of the split (microseconds) where there is one.
    protocol: str = ""
    split_at: int | None = None
    n_train: int = 0
    n_test: int = 0
    scores: tuple[MetricScore, ...] = ()
    #: Share of the positive class, or mean and median of the target, on the test rows.
    prevalence: float | None = None
    bins: tuple[CalibrationBin, ...] = ()
    #: Expected calibration error over the bins, weighted by rows; `None` for numbers.
    calibration_error: Metric | None = None
    curve: tuple[CurvePoint, ...] = ()
    #: What more rows or more time would buy, in a sentence.
    curve_says: str = ""
    parts: tuple[SliceScore, ...] = ()
    worst: str = ""
    gaps: tuple[GroupGap, ...] = ()
    gaps_say: str = ""
    influences: tuple[FeatureImportance, ...] = ()
    members: tuple[EnsembleMember, ...] = ()
    #: Beside the champion's answers on the same rows; empty where there is none that can be asked.
    beside_champion: tuple[MetricScore, ...] = ()
    champion: str = ""
    #: Leaks and everything else that may make these figures too good: sentences with numbers.
    warnings: tuple[str, ...] = ()

    @property
    def main(self) -> MetricScore:
        """The measure that decides."""
        return self.scores[0]
