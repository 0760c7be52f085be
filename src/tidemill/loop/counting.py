"""Counts of a model's events as they are published, by way of what changed since they were last kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tidemill.core.errors import LakeError, LearnError
from tidemill.lake import View, changed_keys
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.interactions import Events
from tidemill.loop.kept_counts import KeptCounts, Represents
from tidemill.loop.nodes import Recommender
from tidemill.models import Interactions
from tidemill.models.learners.additive_counts import Counts, CountSettings, counted
from tidemill.models.recommender import Recommender as Learned

#: Where counts lie in the state folder.
PLACE = "learning"


@dataclass(frozen=True)
class Counting:
    """Counts of everything published, and on what way they came about."""

    counts: Mapping[CountSettings, Counts]
    represents: Represents
    #: Some real events, all of them where the whole table was read.
    events: Interactions
    #: Why the whole table was read; empty where only what changed was.
    whole: str = ""

    def users_of(self, recommender: Learned) -> Interactions:
        """These events in the codes of a recommender that knows all of their items."""
        codes = np.array([recommender.codes[item] for item in self.events.items], np.int32)
        return replace(self.events, items=recommender.items, item=codes[self.events.item])


def count(house: House, graph: Graph, model: Recommender, view: View, settings: Sequence[CountSettings]) -> Counting:
    """The counts of what `model` learns from, as `view` has it."""
    now = Events.of(graph, model, view)
    kept = store(house, model.name).read(settings)
    if not isinstance(kept, str):
        changed = _changed(house, now, *kept)
        if isinstance(changed, Counting):
            return changed
        kept = changed
    events, ahead = now.read()
    counts = {one: counted(one, events) for one in settings}
    return Counting(counts, _represents(now, ahead), events, whole=kept)


def _represents(events: Events, ahead: int) -> Represents:
    return Represents(
        table=events.table,
        columns=events.columns,
        version=events.version,
        publication=events.view.publication,
        as_of=events.view.as_of,
        ahead=ahead,
    )


def store(house: House, model: str) -> KeptCounts:
    """Where a model's counts are kept."""
    return KeptCounts(house.state / PLACE / model)


def _changed(house: House, now: Events, kept: Represents, counts: Mapping[CountSettings, Counts]) -> Counting | str:
    """The kept counts with what has changed since; or a sentence that says why that cannot be told."""
    if (kept.table, kept.columns) != (now.table, now.columns):
        return "those that were kept are of other columns"
    if kept.ahead:
        return f"{kept.ahead} events lay ahead of those that were kept"
    if kept.as_of > now.view.as_of:
        return "those that were kept are of a later time"
    try:
        before = replace(now, view=house.lake.view(publication=kept.publication))
        if before.version != kept.version:
            return f"publication {kept.publication} has another version of {now.table} than those that were kept"
        keys = changed_keys(before.view, now.view, now.table, now.subject, now.columns)
        was, _ = before.read(keys) if keys.num_rows else (Interactions.none(), 0)
        events, ahead = now.read(keys) if keys.num_rows else (Interactions.none(), 0)
        fresh = {one: each.changed(was, events) for one, each in counts.items()}
    except (LakeError, LearnError) as problem:
        return f"what has changed since those that were kept cannot be told: {problem.message}"
    return Counting(fresh, _represents(now, ahead), events)
