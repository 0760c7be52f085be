"""Which figures of an evaluation may be shown, and the one that stands for it."""

from __future__ import annotations

import msgspec

from tidemill.core.records import Evaluation, Metric, Record, Release, Slice

#: Figures of fewer users than this are not shown: they could tell of a person.
FEWEST = 10


class Compared(Record, frozen=True):
    """One figure of the model beside popularity."""

    name: str
    model: Metric
    baseline: Metric
    difference: Metric


class Quality(Record, frozen=True):
    """Figures for one group of users; none where the group is too small to be shown."""

    users: str
    n_users: int
    #: At the evaluation's own k, and at others.
    figures: tuple[Compared, ...]
    further: tuple[Compared, ...]


class Headline(Record, frozen=True):
    """The figure that stands for a release: its hit rate for warm users, or the nearest to that which there is."""

    metric: str
    users: str
    model: Metric
    baseline: Metric
    difference: Metric


def quality(evaluation: Evaluation) -> tuple[Quality, ...]:
    """The figures of every group of users."""
    return tuple(_quality(part, evaluation.k) for part in evaluation.slices)


def _quality(part: Slice, k: int) -> Quality:
    figures = _compared(part)
    main = [one for one in figures if one.name.endswith(f"@{k}")] or figures
    further = [one for one in figures if one not in main]
    return Quality(users=part.users, n_users=part.n_users, figures=tuple(main), further=tuple(further))


def _compared(part: Slice) -> list[Compared]:
    if part.n_users < FEWEST:
        return []
    return [
        Compared(name=name, model=metric, baseline=part.baseline[name], difference=part.difference[name])
        for name, metric in part.model.items()
        if name in part.baseline and name in part.difference
    ]


def headline(release: Release | None) -> Headline | None:
    """The figure that stands for a release; `None` where nothing was measured on enough users."""
    evaluation = release.card.evaluation if release else None
    parts = {part.users: found for part in evaluation.slices if (found := _compared(part))} if evaluation else {}
    users = next((users for users in ("warm", "all") if users in parts), next(iter(parts), None))
    if users is None:
        return None
    one = next((one for one in parts[users] if one.name.startswith("hit_rate")), parts[users][0])
    return Headline(metric=one.name, users=users, model=one.model, baseline=one.baseline, difference=one.difference)


def shareable(release: Release) -> Release:
    """The release without figures of groups that are too small to be shown."""
    evaluation = release.card.evaluation
    if evaluation is None:
        return release
    slices, parts = (
        tuple(part for part in given if part.n_users >= FEWEST) for given in (evaluation.slices, evaluation.parts)
    )
    evaluation = msgspec.structs.replace(evaluation, slices=slices, parts=parts)
    card = msgspec.structs.replace(release.card, evaluation=evaluation)
    return msgspec.structs.replace(release, card=card)
