"""Expectations of an increment's rows: plain data, one function to create each, and a text form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from tidemill.core.duration import duration
from tidemill.core.errors import CheckError, nearest

Severity = Literal["warn", "hold"]

#: The confidence required for a failure to hold an increment: about one false alarm in a thousand checks.
CONFIDENCE = 0.999

#: The metrics of `like_history`, and whether each needs a column.
METRICS: dict[str, bool] = {
    "row_count": False,
    "refused_share": False,
    "repeated_share": False,
    "mean": True,
    "null_share": True,
}


class Expectation(msgspec.Struct, frozen=True, kw_only=True, tag_field="expect"):
    """Base of all expectations. `severity`: the effect of a failure on the increment."""

    severity: Severity = "hold"

    @property
    def words(self) -> str:
        """The expectation as readable text: `between(rating, 1, 5, share=0.95)`."""
        raise NotImplementedError


class Between(Expectation, frozen=True, tag="between"):
    """See `between`."""

    column: str
    low: float | None
    high: float | None
    share: float
    confidence: float

    @property
    def words(self) -> str:
        low = "-∞" if self.low is None else f"{self.low:g}"
        high = "∞" if self.high is None else f"{self.high:g}"
        return f"between({self.column}, {low}, {high}, share={self.share:g})"


class NotNull(Expectation, frozen=True, tag="not_null"):
    """See `not_null`."""

    column: str
    share: float
    confidence: float

    @property
    def words(self) -> str:
        return f"not_null({self.column}, share={self.share:g})"


class Freshness(Expectation, frozen=True, tag="fresh"):
    """See `freshness`."""

    within: str
    column: str | None

    @property
    def words(self) -> str:
        return f"freshness({self.within})" if self.column is None else f"freshness({self.within}, {self.column})"


class RefusedShare(Expectation, frozen=True, tag="refused_share"):
    """See `refused_share`."""

    at_most: float
    confidence: float

    @property
    def words(self) -> str:
        return f"refused_share(at_most={self.at_most:g})"


class RepeatedShare(Expectation, frozen=True, tag="repeated_share"):
    """See `repeated_share`."""

    at_most: float
    confidence: float

    @property
    def words(self) -> str:
        return f"repeated_share(at_most={self.at_most:g})"


class LikeHistory(Expectation, frozen=True, tag="like_history"):
    """See `like_history`."""

    metric: str
    column: str | None

    @property
    def words(self) -> str:
        return f"like_history({self.measures})"

    @property
    def measures(self) -> str:
        """The name under which the observed value is stored: `row_count`, `mean:rating`."""
        return self.metric if self.column is None else f"{self.metric}:{self.column}"


AnyExpectation = Between | NotNull | Freshness | RefusedShare | RepeatedShare | LikeHistory


def between(
    column: str,
    low: float | None,
    high: float | None,
    *,
    share: float = 1.0,
    confidence: float = CONFIDENCE,
    severity: Severity = "hold",
) -> Between:
    """At least `share` of the column's values are in `low..high`, both included; `None` leaves an end open.

    Missing values are ignored (see `not_null`); NaN is outside. The check fails where the upper end of the exact
    binomial interval (Clopper and Pearson 1934) at `confidence` is below `share`.

    >>> between("rating", 1, 5, share=0.95).words
    'between(rating, 1, 5, share=0.95)'
    """
    if low is None and high is None:
        raise CheckError(f"between({column!r}) has neither a lower nor an upper bound")
    if low is not None and high is not None and not low <= high:
        raise CheckError(f"between({column!r}, {low:g}, {high:g}): the lower bound is above the upper bound")
    return Between(
        column=column,
        low=low,
        high=high,
        share=_share("share", share),
        confidence=_confidence(confidence),
        severity=severity,
    )


def not_null(
    column: str, *, share: float = 1.0, confidence: float = CONFIDENCE, severity: Severity = "hold"
) -> NotNull:
    """At least `share` of the column's values are not null; tested like `between`."""
    return NotNull(column=column, share=_share("share", share), confidence=_confidence(confidence), severity=severity)


def freshness(within: str, column: str | None = None, *, severity: Severity = "hold") -> Freshness:
    """The newest row is at most `within` older than the as-of time of the run, for example `freshness("10 days")`.

    It checks the rows of the increment (an increment without rows passes), by the event time or by `column`.
    """
    duration(within)
    return Freshness(within=within, column=column, severity=severity)


#: Former name of `freshness`, kept for existing project files.
fresh = freshness


def refused_share(*, at_most: float, confidence: float = CONFIDENCE, severity: Severity = "hold") -> RefusedShare:
    """The parser and the contract refuse at most this share of the lines that arrived."""
    return RefusedShare(at_most=_share("at_most", at_most), confidence=_confidence(confidence), severity=severity)


def repeated_share(*, at_most: float, confidence: float = CONFIDENCE, severity: Severity = "hold") -> RepeatedShare:
    """At most this share of the good rows has a key that occurred earlier in the increment or the table."""
    return RepeatedShare(at_most=_share("at_most", at_most), confidence=_confidence(confidence), severity=severity)


def like_history(metric: str, column: str | None = None) -> LikeHistory:
    """The increment's `row_count`, `refused_share`, `repeated_share`, or the `mean` or `null_share` of a column, is in
    the usual range of the previous days.

    The day is ranked among the previous days, so its false-alarm rate is learned rather than assumed; without enough
    history it only reports that it is warming up. It warns and never holds.
    """
    if metric not in METRICS:
        raise CheckError(f"like_history({metric!r}): no such metric", tip=nearest(metric, METRICS))
    if METRICS[metric] != (column is not None):
        raise CheckError(f"like_history({metric!r}) {'needs a' if METRICS[metric] else 'takes no'} column")
    return LikeHistory(metric=metric, column=column, severity="warn")


def defaults(own: Iterable[AnyExpectation] = ()) -> list[AnyExpectation]:
    """The default expectations of every stream, except kinds that are in `own`: few refused and few repeated rows.

    Real streams have repeated rows, on small days by chance up to half of them. These bounds hold none of the 5,804
    real days of the Magazine reviews, and four in five of the last 400 days when their rows are duplicated.
    """
    kinds = {type(expectation) for expectation in own}
    usual: list[AnyExpectation] = [refused_share(at_most=0.02), repeated_share(at_most=0.1)]
    return [expectation for expectation in usual if type(expectation) not in kinds]


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise CheckError(f"{name}={value!r} is not a share", tip="a share is between 0 and 1")
    return float(value)


def _confidence(value: float) -> float:
    if not 0.5 <= value < 1:
        raise CheckError(f"confidence={value!r} is not valid", tip="use a number of at least 0.5 and below 1")
    return float(value)
