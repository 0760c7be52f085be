"""Chart records of a tabular model's evaluation: counts and quantiles in bins of test rows, never a single row.

Every bin, class and category has at least `FEWEST_USERS` test rows; smaller ones are merged or left out. Values on an
axis are means of a bin or lie between two bins. Releases of older versions have none of these.
"""

from __future__ import annotations

from tidemill.core.record_format import Record


class ScoreBin(Record, frozen=True):
    """Test rows whose predicted probability of a class is at least `threshold` and below that of the next bin."""

    threshold: float = 0.0
    n: int = 0
    #: Rows of the class among them.
    positives: int = 0


class ClassScores(Record, frozen=True):
    """The predicted probabilities of one class against all others, in bins of falling probability.

    Every point of the ROC and of the precision-recall curve that they give is exact; there are fewer points than rows.
    """

    label: str = ""
    bins: tuple[ScoreBin, ...] = ()


class ConfusionRow(Record, frozen=True):
    """Test rows of one class: how many were predicted as each class, in the order of `Confusion.predicted`."""

    label: str = ""
    counts: tuple[int, ...] = ()


class Confusion(Record, frozen=True):
    """Confusion matrix of several classes: the most frequent ones, the rest as one."""

    predicted: tuple[str, ...] = ()
    rows: tuple[ConfusionRow, ...] = ()


class ResidualBin(Record, frozen=True):
    """Test rows with similar predictions: their mean, and quantiles of target minus prediction."""

    n: int = 0
    predicted: float = 0.0
    q10: float = 0.0
    q25: float = 0.0
    median: float = 0.0
    q75: float = 0.0
    q90: float = 0.0


class ResidualCount(Record, frozen=True):
    """Number of test rows whose target minus prediction is between `low` and `high`."""

    low: float = 0.0
    high: float = 0.0
    n: int = 0


class EffectBin(Record, frozen=True):
    """Rows with similar values of one input, and what it adds to their predictions.

    `at` is the mean of a number (seconds since 1970 of a time); `None` for a category, whose `value` is its name. A
    missing value is the category `missing`.
    """

    n: int = 0
    at: float | None = None
    value: str = ""
    #: Mean contribution, and the 10% and 90% quantiles.
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0


class ShapePoint(Record, frozen=True):
    """One point of a shape function: a number `at`, or the name of a category, and what it adds to each margin."""

    at: float | None = None
    value: str = ""
    effects: tuple[float, ...] = ()


class ShapeFunction(Record, frozen=True):
    """What an additive model adds for each value of one input: linear between the points, constant beyond them."""

    input: str = ""
    #: `hour`, `weekday`, … of a time; empty for the value itself.
    part: str = ""
    points: tuple[ShapePoint, ...] = ()


class EvaluationCharts(Record, frozen=True):
    """Data of the charts of an evaluation; what does not apply to the task is empty."""

    #: Of a binary task the positive class alone; of several classes the most frequent ones.
    scores: tuple[ClassScores, ...] = ()
    #: The probability from which a binary model predicts the positive class.
    threshold: float = 0.5
    confusion: Confusion = Confusion()
    residuals: tuple[ResidualBin, ...] = ()
    residual_counts: tuple[ResidualCount, ...] = ()
    #: The released model's own, if it is additive; the margins are those of `classes`, or one.
    shapes: tuple[ShapeFunction, ...] = ()
    classes: tuple[str, ...] = ()
