"""Records of model quality: metrics with intervals, slices, lists, exposure, evaluations."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.core.record_format import Record as Record


class Metric(Record, frozen=True):
    """A figure with its 95% interval over users."""

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0


#: Figures of fewer users than this are kept and shown nowhere: they could tell of a person.
FEWEST_USERS = 10


class SliceResult(Record, frozen=True):
    """Quality on one group of test users or of targets, the model beside popularity."""

    #: `all`, `warm` (with history before the split), `cold`, or the name of a part, for example `2-4 events`.
    users: str = ""
    n_users: int = 0
    #: Empty where there are too few users to say anything; `note` says so.
    model: dict[str, Metric] = msgspec.field(default_factory=dict)
    baseline: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: Model minus baseline, paired over the same users.
    difference: dict[str, Metric] = msgspec.field(default_factory=dict)
    #: What a part is cut by: `history`, `recency`, `target popularity`, `target` or `group`.
    family: str = ""
    note: str = ""
    #: Measure -> p of a paired sign-flip test of the difference, and the same after Holm over all slices and measures.
    p: dict[str, float] = msgspec.field(default_factory=dict)
    p_holm: dict[str, float] = msgspec.field(default_factory=dict)


class ListStatistics(Record, frozen=True):
    """What kind of items stand in lists, or were taken; `None` where nothing that was trained on stands there."""

    #: Mean training events of an item, and mean share of the catalogue's items with fewer (0 to 1).
    popularity: float | None = None
    percentile: float | None = None
    #: Share of the places that the head holds: the most taken items, which together have a third of the events.
    head_share: float | None = None
    #: Of places over items of the catalogue: 0 where all have as many, near 1 where few have all.
    gini: float | None = None
    #: As in `Evaluation`.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None


class Exposure(Record, frozen=True):
    """One group of items: its share of attention in the lists beside its share of what was taken."""

    #: What items are grouped by, the group, and how many items of the catalogue it has.
    by: str = ""
    group: str = ""
    n_items: int = 0
    #: Shares of all attention (a place counts 1/log2(1 + place)), of the model and of popularity, and of the targets.
    shown: Metric = Metric()
    baseline: Metric = Metric()
    taken: Metric = Metric()
    #: `shown` over `taken`: 1 is proportionate; `None` where nothing of the group was taken.
    ratio: Metric | None = None


class Evaluation(Record, frozen=True):
    """How good a model is on events later than everything that it learned from."""

    model: str = ""
    baseline: str = ""
    #: Train ends before this time; test starts at it (microseconds).
    split_at: int = 0
    #: The convention of history and targets, in words.
    protocol: str = ""
    k: int = 0
    slices: tuple[SliceResult, ...] = ()
    #: Share of the catalogue recommended, mean self-information in bits, mean pairwise distance within a list;
    #: `None` where there is nothing to take a mean of.
    coverage: float = 0.0
    novelty: float | None = None
    diversity: float | None = None
    #: Settings tried on validation days with their score, best first; test was never looked at.
    validation: tuple[dict[str, Any], ...] = ()
    #: The protocol word by word: `split`, `history`, `target`, `seen`, `ties`.
    conventions: dict[str, str] = msgspec.field(default_factory=dict)
    #: Finer slices, each of one family, and a sentence that names the worst of them.
    parts: tuple[SliceResult, ...] = ()
    worst: str = ""
    #: Questions that were asked; more than users where each later event is one.
    n_questions: int = 0
    #: Share of targets never trained on, and share of later events that repeat an item of the user's history.
    cold_targets: float | None = None
    repeats: float | None = None
    #: What stands in the lists of the `model` and of the `baseline`, and what was `taken`.
    lists: dict[str, ListStatistics] = msgspec.field(default_factory=dict)
    exposure: tuple[Exposure, ...] = ()
    #: What may make these figures too good, or not comparable: sentences with numbers.
    warnings: tuple[str, ...] = ()
