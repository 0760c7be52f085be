"""What each learner is made of: its parts, how each is made from events, and how the parts are weighed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import LearnError
from tidemill.models.counted import cosine_lists, pair_lists
from tidemill.models.history import HistoryWeights
from tidemill.models.implicit_factors import als_factors
from tidemill.models.interactions import Interactions
from tidemill.models.item_lists import ItemLists
from tidemill.models.item_ridge import ease_lists
from tidemill.models.learner_spec import LearnerSpec, in_days
from tidemill.models.learners import (
    Als,
    Blend,
    Cooccurrence,
    Ease,
    ItemKnn,
    ListLearner,
    Popularity,
    Spectral,
    Transitions,
)
from tidemill.models.low_pass import low_pass_vectors
from tidemill.models.opinion import UserVectors
from tidemill.models.pair_counts import PairSettings
from tidemill.models.prior import Steps, decay_steps
from tidemill.models.recommender import Prior

#: Makes a part's arrays from events earlier than an as-of (microseconds); `Counted` makes it from kept counts too.
Make = Callable[[Interactions, int], ItemLists | UserVectors]

#: Added to degrees where a learner of lists keeps vectors beside them.
SMOOTHING = 10.0


@dataclass(frozen=True)
class PartRecipe:
    """One part of a settled learner, before it is made."""

    share: float
    weights: HistoryWeights
    #: What the arrays depend on besides the events: parts with the same key share them.
    key: Hashable
    make: Make
    draws: int | None = None


def prior_of(spec: LearnerSpec) -> Prior:
    """Recent popularity in the score of a settled learner."""
    if isinstance(spec, Popularity):
        return Prior(share=1.0, steps=((whole(spec.days), 1.0),))
    steps: Steps = decay_steps(in_days(spec.popularity_half_life)) if spec.popularity_half_life else decay_steps(30.0)
    return Prior(share=number(spec.popularity_share or 0.0), steps=steps)


def recipe_of(spec: LearnerSpec) -> dict[str, PartRecipe]:
    """The parts of a settled learner by name; none for popularity."""
    if isinstance(spec, Popularity):
        return {}
    if isinstance(spec, Blend):
        return {
            name: _member(member, spec.draws, 1 / len(spec.members)) for name, member in sorted(spec.members.items())
        }
    if isinstance(spec, ListLearner):
        return _listed(spec)
    if type(spec) not in _MAKERS:
        raise LearnError(f"{spec.name} is no learner that can be learned by itself", tip="let `choose` settle it first")
    key, make = _MAKERS[type(spec)](spec)
    return {spec.name: PartRecipe(1.0, weights_of(spec), key, make)}


def weights_of(spec: LearnerSpec) -> HistoryWeights:
    """How a settled learner weighs a history."""
    recency = in_days(spec.recency) if spec.recency else 365.0
    if isinstance(spec, Transitions):
        return HistoryWeights(recency_days=recency, rank_power=1.0)
    last_day = isinstance(spec, ListLearner) and spec.last_day
    return HistoryWeights(recency_days=recency, rank_power=number(getattr(spec, "rank_power", 0.3)), last_day=last_day)


def _member(spec: LearnerSpec, draws: int, share: float) -> PartRecipe:
    """The first part of a member: what a ranker scores by is one opinion for each."""
    part = next(iter(recipe_of(spec.settled()).values()))
    return PartRecipe(share, part.weights, part.key, part.make, draws)


def _listed(spec: ListLearner) -> dict[str, PartRecipe]:
    factors = whole(spec.factors or 0)
    share = number(spec.spectral_share or 0.0) if factors else 0.0
    key, make = _MAKERS[type(spec)](spec)
    parts = {spec.name: PartRecipe(1 - share, weights_of(spec), key, make)}
    if factors:
        key, make = _spectral(factors, SMOOTHING)
        parts["spectral"] = PartRecipe(share, weights_of(spec), key, make)
    return parts


def _cooccurrence(spec: Cooccurrence) -> tuple[Hashable, Make]:
    kept = PairSettings(
        half_life_days=in_days(spec.half_life),
        gap_days=in_days(spec.gap),
        max_lag=whole(spec.max_lag),
        lag_power=number(spec.lag_power),
    )
    return _pairs(
        kept,
        whole(spec.neighbours),
        backward=number(spec.backward),
        damping=number(spec.damping),
        smooth=number(spec.smooth),
        power=number(spec.power),
        trend=number(spec.trend),
        trend_days=whole(spec.trend_days),
        hops=whole(spec.hops),
        **({} if spec.damping_to is None else {"damping_to": number(spec.damping_to)}),
    )


def _transitions(spec: Transitions) -> tuple[Hashable, Make]:
    kept = PairSettings(half_life_days=in_days(spec.half_life), gap_days=365.0, max_lag=whole(spec.steps))
    return _pairs(kept, whole(spec.neighbours), backward=0.0, damping=number(spec.damping))


def _pairs(kept: PairSettings, neighbours: int, **shape: Any) -> tuple[Hashable, Make]:
    return ("pairs", kept, *sorted(shape.items()), neighbours), pair_lists(kept, neighbours, **shape)


def _item_knn(spec: ItemKnn) -> tuple[Hashable, Make]:
    shrinkage, neighbours = number(spec.shrinkage), whole(spec.neighbours)
    return ("cosine", shrinkage, neighbours), cosine_lists(shrinkage, neighbours)


def _low_pass(spec: Spectral) -> tuple[Hashable, Make]:
    powers = {
        "gain": number(spec.gain),
        "item_power": number(spec.item_power),
        "out_power": number(spec.item_power if spec.out_power is None else spec.out_power),
    }
    return _spectral(whole(spec.factors), number(spec.smoothing), powers)


def _spectral(factors: int, smoothing: float, powers: dict[str, float] | None = None) -> tuple[Hashable, Make]:
    powers = powers or {}

    def make(events: Interactions, as_of: int) -> UserVectors:
        return low_pass_vectors(events, factors=factors, smoothing=smoothing, **powers)

    return ("spectral", factors, smoothing, *powers.items()), make


def _ease(spec: Ease) -> tuple[Hashable, Make]:
    l2, neighbours, gap_days = number(spec.l2), whole(spec.neighbours), in_days(spec.gap) if spec.gap else None

    def make(events: Interactions, as_of: int) -> ItemLists:
        return ease_lists(events, l2=l2, neighbours=neighbours, gap_days=gap_days)

    return ("ease", l2, neighbours, gap_days), make


def _als(spec: Als) -> tuple[Hashable, Make]:
    factors, iterations = whole(spec.factors), whole(spec.iterations)
    confidence, l2 = number(spec.confidence), number(spec.l2)

    def make(events: Interactions, as_of: int) -> UserVectors:
        return als_factors(events, factors=factors, regularization=l2, confidence=confidence, iterations=iterations)

    return ("als", factors, iterations, confidence, l2), make


_MAKERS: dict[type[LearnerSpec], Callable[[Any], tuple[Hashable, Make]]] = {
    Cooccurrence: _cooccurrence,
    ItemKnn: _item_knn,
    Transitions: _transitions,
    Spectral: _low_pass,
    Ease: _ease,
    Als: _als,
}


def number(value: Any) -> float:
    """A settled number."""
    if not isinstance(value, int | float):
        raise LearnError(f"{value!r} is not settled yet", tip="call `.settled()` or let `choose` find it")
    return float(value)


def whole(value: Any) -> int:
    """A settled whole number."""
    return int(number(value))
