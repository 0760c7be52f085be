"""Training of a recommender from a learner with complete settings and events."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tidemill.core.errors import TooLittleData
from tidemill.core.processes.single_thread import single_thread
from tidemill.models.learners.learner import LearnerSpec, Progress
from tidemill.models.recommender.event_facts import EventFacts
from tidemill.models.recommender.history_weights import newest_first
from tidemill.models.recommender.interactions import F32, I64, Interactions
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.model_part import ModelPart
from tidemill.models.recommender.recent_popularity import recent_popularity
from tidemill.models.recommender.recommender import Recommender


def silent(step: str, figures: dict[str, Any]) -> None:
    """Progress that is not reported."""


@single_thread()
def learn(spec: LearnerSpec, interactions: Interactions, as_of: int, *, progress: Progress = silent) -> Recommender:
    """Train `spec` on events earlier than `as_of` (microseconds).

    Settings without a value take the first value of their grid;
    `training.recommender` chooses them by validation.
    Only items with an event before `as_of` are in the recommender. Raises `TooLittleData` if there is none.
    """
    spec = spec.settled()
    events = interactions if not len(interactions) or interactions.time.max() < as_of else interactions.before(as_of)
    if not len(events):
        raise TooLittleData("there are no events before the as-of to train on")
    recommender = _unranked(spec, events, as_of, progress)
    if not spec.CAPABILITIES.has_ranking:
        return recommender
    earlier = partial(_unranked, spec, progress=progress)
    return replace(recommender, ranking=spec.learn_ranking(events, as_of, earlier=earlier, progress=progress))


def _unranked(spec: LearnerSpec, events: Interactions, as_of: int, progress: Progress) -> Recommender:
    """A recommender with the parts of a learner, trained on events that are all earlier than `as_of`."""
    prior = spec.popularity_prior()
    facts = EventFacts(events.items, item=events.item, time=events.time, as_of=as_of)
    return Recommender(
        items=events.items,
        learner={"learner": spec.name} | spec.settings(),
        as_of=as_of,
        prior=prior,
        popularity=recent_popularity(prior.steps, facts.counts),
        parts=learn_parts(spec, events, as_of, progress=progress),
    )


def learn_parts(
    spec: LearnerSpec, events: Interactions, as_of: int, *, progress: Progress = silent
) -> dict[str, ModelPart]:
    """The parts of a learner with complete settings, trained on events that are all earlier than `as_of`."""
    made: dict[Hashable, Any] = {}
    parts = {}
    for name, recipe in spec.part_recipes().items():
        if recipe.key not in made:
            progress("learn", {"part": name})
            made[recipe.key] = recipe.make(events, as_of)
        arrays = made[recipe.key]
        lists, vectors = (arrays, None) if isinstance(arrays, ItemLists) else (None, arrays)
        parts[name] = ModelPart(
            share=recipe.share, weights=recipe.weights, draws=recipe.draws, lists=lists, vectors=vectors
        )
    return parts


def user_vectors(part: ModelPart, events: Interactions, users: I64) -> F32:
    """Vectors float32 (len(users), n_factors) of users, as in serving."""
    assert part.vectors is not None
    found = []
    for user in users.tolist():
        items, times = events.history(user)
        history, when = newest_first(items.tolist(), times.tolist())
        found.append(part.vectors.user(history, part.weights.weigh(when)))
    return np.stack(found)
