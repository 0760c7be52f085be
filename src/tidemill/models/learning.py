"""Learning: a settled learner and events become a recommender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tidemill.core.errors import LearnError, TooLittleData
from tidemill.models.facts import EventFacts
from tidemill.models.interactions import F32, I64, Interactions
from tidemill.models.item_cosine import cosine_matrix
from tidemill.models.item_lists import ItemLists
from tidemill.models.learners import Cooccurrence, ItemKnn, LearnerSpec, ListLearner, Popularity, Spectral, in_days
from tidemill.models.low_pass import Vectors, low_pass_vectors
from tidemill.models.pair_counts import cooccurrence_matrix
from tidemill.models.prior import Steps, decay_steps, recent_popularity
from tidemill.models.profile import history_weights
from tidemill.models.recommender import Blend, Recommender

#: Told what is being learned: a word for the step, and its figures.
Progress = Callable[[str, dict[str, Any]], None]

#: Added to degrees where a learner of lists keeps vectors beside them.
SMOOTHING = 10.0


def silent(step: str, figures: dict[str, Any]) -> None:
    """Tells nobody."""


def learn(spec: LearnerSpec, interactions: Interactions, as_of: int, *, progress: Progress = silent) -> Recommender:
    """Learn `spec` from events earlier than `as_of` (microseconds).

    Settings that are still open take the first value of their grid; `training.choose` settles them by validation.
    Only items with an event before `as_of` are in the recommender. Raises `TooLittleData` where there is none.
    """
    spec = spec.settled()
    events = interactions if not len(interactions) or interactions.time.max() < as_of else interactions.before(as_of)
    if not len(events):
        raise TooLittleData("there is no event before the as-of to learn from")
    steps = prior_steps(spec)
    facts = EventFacts(events.items, item=events.item, time=events.time, as_of=as_of)
    lists, lists_name = _lists(spec, events, as_of, progress)
    factors = getattr(spec, "factors", None)
    if factors:
        progress("vectors", {"factors": factors, "items": events.n_items})
    vectors = low_pass_of(spec, events)
    return Recommender(
        items=events.items,
        learner={"learner": spec.name} | spec.settings(),
        as_of=as_of,
        blend=blend_of(spec, vectors=vectors is not None),
        popularity=recent_popularity(steps, facts.counts),
        lists=lists,
        lists_name=lists_name,
        vectors=vectors,
    )


def blend_of(spec: LearnerSpec, *, vectors: bool) -> Blend:
    """How a settled learner blends its parts."""
    spectral = 1.0 if isinstance(spec, Spectral) else 0.0
    if isinstance(spec, ListLearner) and vectors:
        spectral = float(spec.spectral_share or 0.0)
    return Blend(
        popularity=1.0 if isinstance(spec, Popularity) else float(spec.popularity_share or 0.0),
        spectral=spectral,
        steps=prior_steps(spec),
        recency_days=in_days(spec.recency) if spec.recency else 365.0,
    )


def prior_steps(spec: LearnerSpec) -> Steps:
    """Windows of recent popularity of a settled learner."""
    if isinstance(spec, Popularity):
        return ((spec.days, 1.0),)
    return decay_steps(in_days(spec.popularity_half_life))


def item_matrix(spec: ListLearner, events: Interactions, as_of: int) -> Any:
    """The sparse item-to-item matrix of a settled learner of lists, before it is cut."""
    if isinstance(spec, Cooccurrence):
        return cooccurrence_matrix(
            events,
            as_of,
            half_life_days=in_days(spec.half_life),
            gap_days=in_days(spec.gap),
            backward=float(spec.backward or 0.0),
            damping=float(spec.damping or 0.0),
            max_lag=spec.max_lag,
        )
    if isinstance(spec, ItemKnn):
        return cosine_matrix(events, shrinkage=float(spec.shrinkage or 0.0))
    raise LearnError(f"{spec.name} makes no item lists")


def _lists(
    spec: LearnerSpec, events: Interactions, as_of: int, progress: Progress
) -> tuple[ItemLists | None, str | None]:
    if not isinstance(spec, ListLearner):
        return None, None
    progress("lists", {"learner": spec.name, "events": len(events), "items": events.n_items})
    return ItemLists.from_matrix(item_matrix(spec, events, as_of), spec.neighbours), spec.name


def low_pass_of(spec: LearnerSpec, events: Interactions) -> Vectors | None:
    """The spectral vectors of a settled learner, `None` where it makes none."""
    factors = getattr(spec, "factors", None)
    if not factors:
        return None
    smoothing = spec.smoothing if isinstance(spec, Spectral) else None
    return low_pass_vectors(events, factors=factors, smoothing=SMOOTHING if smoothing is None else smoothing)


def user_vectors(vectors: Vectors, events: Interactions, users: I64, recency_days: float) -> F32:
    """Vectors float32 (len(users), n_factors) of real users, as they would be made when answering."""
    return np.stack([vectors.user(*_weights(events, int(user), recency_days)) for user in users])


def _weights(events: Interactions, user: int, recency_days: float) -> tuple[list[int], list[float]]:
    items, times = events.history(user)
    return history_weights(items.tolist(), times.tolist(), recency_days)
