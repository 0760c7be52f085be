"""Headline metric of a model card: a recommender's hit rate for warm users, or a tabular model's main metric."""

from __future__ import annotations

from tidemill.core.record_format import Record
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import FEWEST_USERS, Metric, MetricScore, Standing, standing
from tidemill.core.records.release import Card


class Headline(Record, frozen=True):
    """The headline metric of a release: its hit rate for warm users, or the closest available metric."""

    metric: str
    users: str
    model: Metric
    baseline: Metric
    difference: Metric
    #: The baseline, the users or rows of the metric, and whether lower is better.
    beside: str = "popularity"
    over: str = ""
    less: bool = False

    @property
    def standing(self) -> Standing:
        """Whether the model is significantly better or worse than the baseline."""
        return standing(self.difference, less=self.less)


def headline(card: Card) -> Headline | None:
    """The headline metric of a card; `None` if there are not enough evaluated users or rows."""
    if card.assessment is not None:
        found = card.assessment
        return _of_rows(found, found.main, found.baseline) if found.scores else None
    slices = card.evaluation.slices if card.evaluation else ()
    known = {part.users: scores for part in slices if (scores := part.scores())}
    users = next((users for users in ("warm", "all") if users in known), next(iter(known), None))
    if users is None:
        return None
    score = next((one for one in known[users] if one.name.startswith("hit_rate")), known[users][0])
    return _headline(score, users=users)


def versus_champion(card: Card) -> Headline | None:
    """The main metric of a tabular model compared with the champion at its training; `None` if there was none."""
    found = card.assessment
    return _of_rows(found, found.beside_champion[0], found.champion) if found and found.beside_champion else None


def _of_rows(found: Assessment, score: MetricScore, beside: str) -> Headline | None:
    return _headline(score, beside=beside, over=f"{found.n_test:,} test rows") if found.n_test >= FEWEST_USERS else None


def _headline(score: MetricScore, *, users: str = "", beside: str = "popularity", over: str = "") -> Headline:
    return Headline(
        metric=score.name, users=users, model=score.model, baseline=score.baseline, difference=score.difference,
        beside=beside, over=over, less=not score.higher_is_better,
    )  # fmt: skip
