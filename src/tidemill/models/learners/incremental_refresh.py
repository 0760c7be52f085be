"""Incremental refresh: a recommender updated without training; lists are rebuilt from counts, the rest is kept.

Settings, shares, vectors and the trees of a ranking are kept. A new item has lists like any other, and zero vectors
until the next training. If every part is computed from counts, the result equals training at the same as-of with the
same settings.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

import numpy as np

from tidemill.core.errors import LearnError, TooLittleData
from tidemill.models.counts.additive_counts import CountedLists, Counts, CountSettings, ListFacts
from tidemill.models.counts.engine_counts import EngineEvents, engine_counts
from tidemill.models.learners.learner import LearnerSpec, PartRecipe
from tidemill.models.learners.registry import learner_of
from tidemill.models.recommender.exact_search import ExactIndex
from tidemill.models.recommender.interactions import I32, I64
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.model_part import ModelPart
from tidemill.models.recommender.recent_popularity import recent_popularity
from tidemill.models.recommender.recommender import Recommender


def required_counts(spec: LearnerSpec) -> list[CountSettings]:
    """The counts that a refresh of a learner's model needs, each once; none if no part is computed from counts."""
    makers = [recipe.make for recipe in spec.part_recipes().values()]
    return list(dict.fromkeys(make.settings for make in makers if isinstance(make, CountedLists)))


def counts_to_refresh(recommender: Recommender) -> list[CountSettings]:
    """The counts that a refresh of this recommender needs."""
    return required_counts(_spec(recommender))


def days_to_refresh(recommender: Recommender) -> int | None:
    """The number of recent days of events that a refresh needs in addition to the counts; `None`: all events."""
    if recommender.ranking is not None:
        return None
    looked_at = [recipe.make.days for recipe in _recipes(recommender).values() if isinstance(recipe.make, CountedLists)]
    return max([*looked_at, *(days for days, _ in recommender.prior.steps)])


def refresh_from_counts(
    old: Recommender,
    counts: Mapping[CountSettings, Counts],
    recent: ListFacts,
    first_seen: I64 | None = None,
) -> Recommender:
    """The recommender at `recent.as_of`, computed from `counts` of all earlier events.

    `counts` contains the result of `counts_to_refresh(old)`, and `recent` has the items of these counts, sorted, with
    the events of `days_to_refresh(old)`; a ranking also needs `first_seen`, the time of each item's first event, int64
    (n_items), microseconds. Raises `LearnError` if no part is counted, and `TooLittleData` without events.
    """
    wanted = counts_to_refresh(old)
    if not wanted:
        raise LearnError(f"{old.learner['learner']} has no counts to refresh from", tip="train it again instead")
    items = counts[wanted[0]].tally.known
    if list(recent.items) != items:
        raise LearnError("the recent events and the counts have different items")
    if not items:
        raise TooLittleData("there are no events before the as-of")
    if old.ranking is not None and first_seen is None:
        raise LearnError("a ranking needs the time of the first event of each item")
    places = np.array([old.codes.get(item, -1) for item in items], np.int32)
    return Recommender(
        items=items,
        learner=old.learner,
        as_of=recent.as_of,
        prior=old.prior,
        popularity=recent_popularity(old.prior.steps, recent.counts),
        parts=_parts(old, counts, recent, places),
        ranking=replace(old.ranking, first_seen=first_seen) if old.ranking and first_seen is not None else None,
    )


def count_all(recommender: Recommender, events: EngineEvents) -> Recommender:
    """The recommender, trained on a sample, with popularity and lists from all `events` of an engine, or vectors.

    A learner that neither counts nor learns on the engine is unchanged; popularity alone is counted.
    """
    makes = [recipe.make for recipe in _recipes(recommender).values() if isinstance(recipe.make, CountedLists)]
    spec = _spec(recommender)
    days = {days for days, _ in recommender.prior.steps} | {make.days for make in makes}
    events = replace(events, days=frozenset(days - {0}))
    vectors = None if makes else spec.fit_on_engine(events)
    if recommender.parts and not makes and vectors is None:
        return recommender
    facts = events.facts
    if makes:
        return refresh_from_counts(recommender, engine_counts(events, makes), facts, facts.first)
    popularity = recent_popularity(recommender.prior.steps, facts.counts)
    parts = dict(recommender.parts)
    if vectors is not None:
        parts[spec.name] = replace(parts[spec.name], vectors=vectors, index=ExactIndex(vectors.items))
    return replace(recommender, items=facts.items, popularity=popularity, parts=parts)


def _parts(
    old: Recommender, counts: Mapping[CountSettings, Counts], recent: ListFacts, places: I32
) -> dict[str, ModelPart]:
    lists: dict[Hashable, ItemLists] = {}
    parts = {}
    for name, recipe in _recipes(old).items():
        part, make = old.parts[name], recipe.make
        if isinstance(make, CountedLists):
            if recipe.key not in lists:
                lists[recipe.key] = make.lists(counts[make.settings], recent.items, recent.as_of, recent.counts)
            parts[name] = replace(part, lists=lists[recipe.key])
        elif part.vectors is not None:
            vectors = part.vectors.taking(places)
            parts[name] = replace(part, vectors=vectors, index=ExactIndex(vectors.items))
        else:
            assert part.lists is not None
            parts[name] = replace(part, lists=part.lists.taking(places))
    return parts


def _spec(recommender: Recommender) -> LearnerSpec:
    return learner_of(recommender.learner["learner"], recommender.learner)


def _recipes(recommender: Recommender) -> dict[str, PartRecipe]:
    return _spec(recommender).part_recipes()
