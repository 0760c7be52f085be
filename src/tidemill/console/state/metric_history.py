"""Metric of a model over time: of each release on its test set, and of evaluations on later data."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.core.record_format import Record
from tidemill.core.records.headline import headline
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Card, Release
from tidemill.core.records.runs import Run

#: Number of newest releases, and of newest evaluations.
MOST = 40
RELEASE, BASELINE, LATER = "Release", "Baseline", "Later evaluation"


class MetricPointInTime(Record, frozen=True):
    """The metric of a release or a run, by the as-of of the data."""

    series: str
    at: int
    name: str
    metric: Metric
    #: Users or rows of the test; `None` if they are not recorded, as of evaluations.
    n: int | None


class MetricHistory(Record, frozen=True):
    """One metric of a model over time, oldest first."""

    metric: str
    #: The group of users, empty for rows; and whether lower is better.
    users: str
    less: bool
    points: tuple[MetricPointInTime, ...]


def metric_history(releases: Sequence[Release], runs: Sequence[Run]) -> MetricHistory | None:
    """The headline metric of the newest release, in all releases that have it and in later evaluations; `None` without
    any.
    """
    measured = [(release, found) for release in releases if (found := headline(release.card)) is not None]
    if not measured:
        return None
    last = measured[-1][1]
    same = [(release, one) for release, one in measured if (one.metric, one.users) == (last.metric, last.users)]
    points: list[MetricPointInTime] = []
    for release, one in same[-MOST:]:
        n = _n(release.card, one.users)
        for series, metric in ((RELEASE, one.model), (BASELINE, one.baseline)):
            points.append(
                MetricPointInTime(series=series, at=release.card.as_of, name=release.name, metric=metric, n=n)
            )
    key = f"{last.metric}[{last.users}]" if last.users else last.metric
    later = [run for run in runs if run.kind == "evaluate" and run.state == "finished" and key in run.metrics]
    points += [
        MetricPointInTime(series=LATER, at=run.as_of, name=run.name, metric=run.metrics[key], n=None)
        for run in sorted(later, key=lambda run: run.number)[-MOST:]
    ]
    points.sort(key=lambda one: one.at)
    return MetricHistory(metric=last.metric, users=last.users, less=last.less, points=tuple(points))


def _n(card: Card, users: str) -> int | None:
    if card.assessment is not None:
        return card.assessment.n_test
    slices = card.evaluation.slices if card.evaluation else ()
    return next((part.n_users for part in slices if part.users == users), None)
