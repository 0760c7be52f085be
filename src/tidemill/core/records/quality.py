"""Records of model quality: metrics with intervals, slices, lists, exposure, evaluations."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidemill.core.record_format import Record as Record


class Metric(Record, frozen=True):
    """A metric with its 95% interval over users."""

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0


#: `better` and `worse`: the interval of the difference excludes zero.
Standing = Literal["better", "even", "worse"]


def standing(difference: Metric, *, less: bool) -> Standing:
    """Whether a difference is significant, and in which direction; `less`: lower is better."""
    if difference.low <= 0 <= difference.high:
        return "even"
    return "better" if (difference.low > 0) is not less else "worse"


class MetricScore(Record, frozen=True):
    """One metric of the model compared with its baseline on the same users or rows."""

    #: `ndcg@10`, `auc`, `log_loss`, `brier`, `accuracy`, `mae`, `rmse`, `r2`, `poisson_deviance`, …
    name: str = ""
    higher_is_better: bool = False
    model: Metric = Metric()
    baseline: Metric = Metric()
    #: Model minus baseline, paired over users, rows, or groups of rows.
    difference: Metric = Metric()

    @property
    def standing(self) -> Standing:
        """Whether the model is significantly better or worse than the baseline."""
        return standing(self.difference, less=not self.higher_is_better)


#: Metrics over fewer users than this are neither stored nor shown, because they could reveal a person.
FEWEST_USERS = 10


class SliceResult(Record, frozen=True):
    """Quality on one slice of the test: of users, compared with the baseline; of rows, with all other rows."""

    #: `all`, `warm` (with history before the split), `cold`, or the name of a slice: `2-4 events`, a column's value.
    users: str = ""
    n_users: int = 0
    #: Empty if there are too few users; then `note` says so.
    model: dict[str, Metric] = msgspec.field(default_factory=dict)
    baseline: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: Model minus baseline, paired over the same users; on rows, the slice minus the other rows.
    difference: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: What the slice is defined by: `history`, `recency`, `target popularity`, `target`, `group`, or a column.
    family: str = ""
    note: str = ""
    #: Metric -> p-value of a permutation test of the difference; the same, Holm-corrected over slices and metrics.
    p: dict[str, float] = msgspec.field(default_factory=dict)
    p_holm: dict[str, float] = msgspec.field(default_factory=dict)

    def scores(self) -> tuple[MetricScore, ...]:
        """Its metrics of recommendations, for which higher is better; none if it is too small to be shown."""
        if self.n_users < FEWEST_USERS:
            return ()
        return tuple(
            MetricScore(
                name=name, higher_is_better=True, model=metric, baseline=self.baseline[name],
                difference=self.difference[name],
            )
            for name, metric in self.model.items()
            if name in self.baseline and name in self.difference
        )  # fmt: skip


class ListStatistics(Record, frozen=True):
    """Statistics of the items in recommended lists, or of the items taken; `None` without any trained item."""

    #: Mean training events per item, and mean share (0 to 1) of catalogue items with fewer events.
    popularity: float | None = None
    percentile: float | None = None
    #: Share of list positions with head items: the most popular items, which together have a third of the events.
    head_share: float | None = None
    #: Gini coefficient of positions over the catalogue's items: 0 if equal, near 1 if a few items have them all.
    gini: float | None = None
    #: As in `Evaluation`.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None


class Exposure(Record, frozen=True):
    """Exposure of one group of items in the lists, compared with its share of the items taken."""

    #: The grouping, the group, and its number of catalogue items.
    by: str = ""
    group: str = ""
    n_items: int = 0
    #: Shares of exposure (a position weighs 1/log2(1 + position)) by the model and by popularity; share of the targets.
    shown: Metric = Metric()
    baseline: Metric = Metric()
    taken: Metric = Metric()
    #: `shown` divided by `taken`: 1 is proportionate; `None` if nothing of the group was taken.
    ratio: Metric | None = None


class Evaluation(Record, frozen=True):
    """Offline evaluation of a recommender on events later than all its training events."""

    model: str = ""
    baseline: str = ""
    #: Train ends before this time; test starts at it (microseconds).
    split_at: int = 0
    #: Description of the evaluation protocol: history and targets.
    protocol: str = ""
    k: int = 0
    slices: tuple[SliceResult, ...] = ()
    #: Share of the catalogue recommended, mean self-information in bits, mean pairwise distance within a list;
    #: `None` if undefined.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None
    #: Settings tried on validation days with their scores, best first. The test days are not used for it.
    validation: tuple[dict[str, Any], ...] = ()
    #: The protocol's choices: `split`, `history`, `target`, `seen`, `ties`.
    conventions: dict[str, str] = msgspec.field(default_factory=dict)
    #: Finer slices, each of one family, and a sentence that names the worst of them.
    parts: tuple[SliceResult, ...] = ()
    worst: str = ""
    #: Number of test queries; more than users if every later event is a query.
    n_questions: int = 0
    #: Share of targets without training events, and share of later events that repeat an item of the user's history.
    cold_targets: float | None = None
    repeats: float | None = None
    #: Statistics of the lists of the `model` and of the `baseline`, and of the items `taken`.
    lists: dict[str, ListStatistics] = msgspec.field(default_factory=dict)
    exposure: tuple[Exposure, ...] = ()
    #: Reasons why these metrics may be too optimistic or not comparable: sentences with numbers.
    warnings: tuple[str, ...] = ()

    def metrics(self) -> dict[str, Metric]:
        """Its metrics as recorded in a run: `hit_rate@10[warm]`, `difference hit_rate@10[warm]`, list statistics."""
        slices = [part for part in self.slices if part.n_users >= FEWEST_USERS]
        found = {f"{name}[{part.users}]": metric for part in slices for name, metric in part.model.items()}
        found |= {
            f"difference {name}[{part.users}]": metric for part in slices for name, metric in part.difference.items()
        }
        plain = {"coverage": self.coverage, "novelty": self.novelty, "diversity": self.diversity}
        return found | {
            name: Metric(value=value, low=value, high=value) for name, value in plain.items() if value is not None
        }
