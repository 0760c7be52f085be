"""Blend: a trained ranker over the parts of several learners, live counts and the shape of the history.

Training windows are consecutive at the end of the events; each has a tenth of the events before its end. For each
window the parts are trained on the events before it. Each event of the window is a query: which of the candidates that
the parts retrieve for the user's history so far was taken? Trees trained on all windows rank the candidates of parts
that are trained up to the as-of. Several windows matter more than the shape of the trees: with one window the ranker
overfits to its days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import msgspec
import numpy as np
from msgspec import Meta

from tidemill.core.errors import SettingRefused, TooLittleData
from tidemill.core.search_space import Space
from tidemill.models.learners.cooccurrence import Cooccurrence
from tidemill.models.learners.item_knn import ItemKnn
from tidemill.models.learners.lambdamart import fit_ranker
from tidemill.models.learners.learner import Capabilities, LearnEarlier, LearnerSpec, PartRecipe, Progress
from tidemill.models.learners.settings import Count, Positive, number, whole
from tidemill.models.learners.spectral import Spectral
from tidemill.models.recommender.event_facts import EventFacts
from tidemill.models.recommender.interactions import F32, I64, Interactions
from tidemill.models.recommender.ranker_features import feature_names, query_features
from tidemill.models.recommender.ranking import CandidateRanker
from tidemill.models.recommender.recommender import Recommender

#: Number of windows that the trees are trained on, and each one's share of the events before its end.
WINDOWS, SHARE = 3, 0.1
#: Maximum number of queries of a window, evenly spaced over its events.
QUESTIONS = 10_000
#: The most popular items of the last days are candidates too, because slates may also retrieve them.
POPULAR, POPULAR_DAYS = 50, 90
#: Minimum number of queries with a retrieved target.
ENOUGH = 50


class Blend(LearnerSpec, frozen=True, kw_only=True, tag="blend"):
    """A ranker over the scores of several learners, the item's age and counts, and the user's history."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = {}
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        needs_times=True, auto_order=70, in_blend=False, has_ranking=True, extra="learn"
    )

    #: The learners whose parts retrieve and score candidates: name of the part -> learner.
    members: dict[str, LearnerSpec] = msgspec.field(default_factory=dict)
    #: Number of candidates per part.
    draws: Count = 80
    trees: Count | Space = 50
    leaves: Annotated[int, Meta(ge=2)] | Space = 7
    rate: Positive | Space = 0.1
    #: Minimum number of rows in a leaf; fewer fit the noise of one window.
    min_leaf: Count | Space = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, member in self.members.items():
            if not name.isidentifier() or name == "popularity":
                raise SettingRefused(
                    f"blend: {name!r} is not a valid component name", tip="use letters, digits, underscores"
                )
            if not isinstance(member, LearnerSpec) or not member.CAPABILITIES.in_blend:
                raise SettingRefused(
                    f"blend: the member {name!r} is {member!r}, which cannot be part of a blend",
                    tip="use learners such as tm.cooccurrence() and tm.item_knn(); popularity is in every blend",
                )
            if member.searched():
                open_ones = ", ".join(member.searched())
                raise SettingRefused(
                    f"blend: {open_ones} of the member {name!r} cannot be searched inside a blend",
                    tip="search it outside the blend, and set the member to the result",
                )

    def parts(self) -> frozenset[str]:
        return frozenset({"popularity", *self.members})

    def told(self) -> dict[str, Any]:
        """The settings, with one line per member.

        >>> Blend(members={"near": ItemKnn(shrinkage=3.0)}).told()["members"]
        {'near': 'item_knn(shrinkage=3.0)'}
        """
        return self.settings() | {"members": {name: _line(member) for name, member in self.members.items()}}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Without `members`, the default ones are used."""
        if "members" in settings and not settings["members"]:
            raise SettingRefused("blend: `members` is empty", tip="leave `members` out for the default ones")
        return super().from_settings({"members": blended(), **settings})

    def blend_members(self) -> Mapping[str, LearnerSpec]:
        return self.members

    def part_recipes(self) -> dict[str, PartRecipe]:
        """The first part of each member: the ranker has one score for each."""
        parts = {}
        for name, member in sorted(self.members.items()):
            part = next(iter(member.settled().part_recipes().values()))
            parts[name] = replace(part, share=1 / len(self.members), draws=self.draws)
        return parts

    def learn_ranking(
        self, events: Interactions, as_of: int, *, earlier: LearnEarlier, progress: Progress
    ) -> CandidateRanker:
        return learn_ranking(self, events, as_of, earlier=earlier, progress=progress)


def blend(**settings: Any) -> Blend:
    """A trained blend: a ranker over the parts of several learners. Needs the extra `learn`.

    `members` names them: `blend(members={"session": cooccurrence(…), "knn": item_knn(…)})`. The default members are
    co-occurrence with the last items, with the last day and with a long history, two-hop neighbours, item-kNN and
    spectral vectors.
    """
    return Blend.from_settings(settings)


def blended() -> dict[str, LearnerSpec]:
    """The default members of a blend."""
    long_ago = "100000 days"
    listed: dict[str, Any] = {"neighbours": 200, "factors": 0, "spectral_share": 0.0}
    near: dict[str, Any] = listed | {
        "half_life": "1400 days", "gap": "1000 days", "damping": 0.25, "backward": 1.0, "trend": 0.2, "trend_days": 90,
    }  # fmt: skip
    far: dict[str, Any] = near | {
        "lag_power": 0.25, "backward": 0.7, "damping_to": 0.5, "smooth": 2.0, "trend": 0.4, "trend_days": 30,
        "power": 0.7,
    }  # fmt: skip
    return {
        "session": Cooccurrence(**near, recency="30 days"),
        "day": Cooccurrence(**near, recency=long_ago, last_day=True),
        "long": Cooccurrence(**far, recency=long_ago, rank_power=0.0),
        "second": Cooccurrence(**near, recency="30 days", hops=2),
        "knn": ItemKnn(**listed, shrinkage=10.0, recency="365 days"),
        "taste": Spectral(factors=64, smoothing=10.0, gain=0.0, recency="365 days"),
    }


def _line(spec: LearnerSpec) -> str:
    given = {field.name: getattr(spec, field.name) for field in msgspec.structs.fields(spec)}
    usual = {field.name: field.default for field in msgspec.structs.fields(spec)}
    said = ", ".join(f"{name}={value!r}" for name, value in given.items() if value != usual[name])
    return f"{spec.name}({said})"


@dataclass(frozen=True)
class _RankingQueries:
    """Queries of one window: features (n, n_features), whether each row was taken, and the row range of each query."""

    features: F32
    taken: I64
    rows: I64


def learn_ranking(
    spec: Blend,
    events: Interactions,
    as_of: int,
    *,
    earlier: LearnEarlier,
    progress: Progress,
) -> CandidateRanker:
    """Trees over the parts of a blend with complete settings, from events before `as_of` (microseconds).

    Raises `TooLittleData` if the parts of earlier windows retrieve hardly any item that was taken later, and
    `BackendMissing` without LightGBM.
    """
    asked: list[_RankingQueries] = []
    names: tuple[str, ...] = ()
    for start, end in _windows(events):
        before = events.before(start)
        recommender = earlier(before, start)
        names = feature_names({name: part.kind for name, part in recommender.parts.items()})
        asked.append(_ask(spec, recommender, before, events, start, end))
        progress("questions", {"answered": f"{len(asked[-1].rows):,}", "candidates": f"{len(asked[-1].taken):,}"})
    asked = [one for one in asked if len(one.rows)]
    if sum(len(one.rows) for one in asked) < ENOUGH:
        raise TooLittleData(
            f"a blend needs at least {ENOUGH} later events whose item its members retrieve",
            tip="train a simpler model, for example tm.cooccurrence()",
        )
    ranker = fit_ranker(
        np.concatenate([one.features for one in asked]),
        np.concatenate([one.taken for one in asked]),
        np.concatenate([one.rows for one in asked]),
        names,
        trees=whole(spec.trees),
        leaves=whole(spec.leaves),
        rate=number(spec.rate),
        min_leaf=whole(spec.min_leaf),
        told=lambda tree, ndcg: progress("trees", {"tree": f"{tree} of {spec.trees}", "ndcg@10": ndcg}),
    )
    return CandidateRanker(ranker, first_seen(events))


def first_seen(events: Interactions) -> I64:
    """int64 (n_items), microseconds: the time of each item's first event."""
    first = np.full(events.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, events.item, events.time)
    return first


def _windows(events: Interactions) -> Iterator[tuple[int, int]]:
    """`(start, end)` of each window, latest first; fewer if the events cover few days."""
    end = int(events.time.max()) + 1
    for _ in range(WINDOWS):
        before = events.time[events.time < end]
        if not len(before):
            return
        start = int(np.quantile(before, 1 - SHARE, method="higher"))
        if start <= int(before.min()):
            return
        yield start, end
        end = start


def _ask(
    spec: Blend, recommender: Recommender, before: Interactions, events: Interactions, start: int, end: int
) -> _RankingQueries:
    """The queries of one window; those whose target was not retrieved are left out."""
    facts = EventFacts(before.items, item=before.item, time=before.time, as_of=start)
    of_items = CandidateRanker.features_of(first_seen(before), facts.counts, start)
    code = np.searchsorted(before.items, events.items)  # both are sorted
    known = np.asarray(before.items, object)[np.minimum(code, before.n_items - 1)] == np.asarray(events.items, object)
    code = np.where(known, code, -1)[events.item]  # (n_events), -1: unknown at that time
    places = np.flatnonzero((events.time >= start) & (events.time < end) & (code >= 0))
    # Ordered by time, not by users, whose codes follow pseudonyms: so every project asks the same queries.
    places = places[np.lexsort((events.item[places], events.time[places]))]
    places = places[np.linspace(0, len(places) - 1, min(QUESTIONS, len(places))).astype(int)]
    popular = np.argsort(-facts.counts(POPULAR_DAYS), kind="stable")[:POPULAR].astype(np.int32)
    features, taken, rows = [], [], []
    for place in places.tolist():
        history = slice(int(events.starts[events.user[place]]), place)
        shown = code[history] >= 0
        items = code[history][shown].tolist()
        if not items or code[place] in items:
            continue
        profile = recommender.profile(items, events.time[history][shown].tolist())
        drawn = np.union1d(profile.nearest(spec.draws), popular)
        hit = drawn == code[place]
        if hit.any():
            new = ~np.isin(drawn, items)
            features.append(query_features(profile, of_items, drawn[new], start))
            taken.append(hit[new].astype(np.int64))
            rows.append(int(new.sum()))
    if not rows:
        return _RankingQueries(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return _RankingQueries(np.concatenate(features), np.concatenate(taken), np.array(rows, np.int64))
