"""Evaluation report: the metrics that may be shown, those of groups that are large enough."""

from __future__ import annotations

import msgspec

from tidemill.console.state.tabular_report import shareable_assessment
from tidemill.core.record_format import Record
from tidemill.core.records.quality import FEWEST_USERS, Evaluation, MetricScore, SliceResult
from tidemill.core.records.release import Release


class Quality(Record, frozen=True):
    """Metrics for one group of users; none if the group is too small to be shown."""

    users: str
    n_users: int
    #: Metrics at the evaluation's k, and at other k.
    figures: tuple[MetricScore, ...]
    further: tuple[MetricScore, ...]


def quality(evaluation: Evaluation) -> tuple[Quality, ...]:
    """The metrics of every group of users."""
    return tuple(_quality(part, evaluation.k) for part in evaluation.slices)


def _quality(part: SliceResult, k: int) -> Quality:
    figures = part.scores()
    main = tuple(one for one in figures if one.name.endswith(f"@{k}")) or figures
    further = tuple(one for one in figures if one not in main)
    return Quality(users=part.users, n_users=part.n_users, figures=main, further=further)


def shareable(release: Release) -> Release:
    """The release without metrics of groups that are too small to be shown."""
    evaluation, assessment = release.card.evaluation, release.card.assessment
    if assessment is not None:
        card = msgspec.structs.replace(release.card, assessment=shareable_assessment(assessment))
        return msgspec.structs.replace(release, card=card)
    if evaluation is None:
        return release
    slices, parts = (
        tuple(part for part in given if part.n_users >= FEWEST_USERS) for given in (evaluation.slices, evaluation.parts)
    )
    evaluation = msgspec.structs.replace(evaluation, slices=slices, parts=parts)
    card = msgspec.structs.replace(release.card, evaluation=evaluation)
    return msgspec.structs.replace(release, card=card)
