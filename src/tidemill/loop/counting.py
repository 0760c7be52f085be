"""Counts of a model's events as they are published, by way of what changed since they were last kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.errors import LakeError, LearnError
from tidemill.lake import View, changed_keys
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.kept_counts import KeptCounts, Represents
from tidemill.loop.mill import Recommender
from tidemill.models import EventFacts, Interactions
from tidemill.models.counted import Counts, CountSettings, counted
from tidemill.models.facts import DAY_US
from tidemill.models.interactions import I64
from tidemill.models.recommender import Recommender as Learned

#: Where counts lie in the state folder.
PLACE = "learning"


@dataclass(frozen=True)
class Events:
    """A model's interactions in one view of the lake."""

    view: View
    table: str
    subject: str
    item: str
    time: str
    #: The column that orders events at the same time, where the table has it.
    row: str | None

    @classmethod
    def of(cls, graph: Graph, model: Recommender, view: View) -> Events:
        """Those that `model` learns from."""
        roles = graph.roles(model)
        row = "_row" if "_row" in graph.schemas[model.interactions].names else None
        return cls(view, model.interactions, roles.subject, roles.item, roles.time, row)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.subject, self.item, self.time, *([self.row] if self.row else []))

    @property
    def version(self) -> int:
        """The table's version."""
        return self.view.versions[self.table]

    def read(self, keys: pa.Table | None = None) -> tuple[Interactions, int]:
        """Events before the view's as-of, of everybody or of these people, and how many come later."""
        rows = self.view.arrow(self.table, self.columns, keys=keys)
        if not rows.num_rows:
            return Interactions.none(), 0
        events = Interactions.from_arrow(rows, user=self.subject, item=self.item, time=self.time, row=self.row)
        known = events.before(self.view.as_of)
        return known, len(events) - len(known)

    def recent(self, house: House, items: Sequence[str], days: int | None) -> tuple[EventFacts, I64]:
        """Facts about these sorted `items` from events of the last `days`, of all time with `None`; and when the first
        of these events was, int64 (n_items), the as-of where there was none.
        """
        frame = self.view.scan(self.table).select(self.item, self.time)
        if days is not None:
            frame = frame.filter(nw.col(self.time) >= from_micros(self.view.as_of - days * DAY_US))
        rows = house.engine.collect(frame)
        places = pc.index_in(rows[self.item].cast(pa.string()), value_set=pa.array(items, pa.string()))
        item = places.fill_null(-1).to_numpy().astype(np.int64)
        time = rows[self.time].cast(pa.int64()).to_numpy()
        known = (item >= 0) & (time < self.view.as_of)
        item, time = item[known], time[known]
        first = np.full(len(items), self.view.as_of, np.int64)
        np.minimum.at(first, item, time)
        return EventFacts(items, item=item, time=time, as_of=self.view.as_of), first

    def represents(self, ahead: int) -> Represents:
        """What counts of them are counts of."""
        return Represents(
            table=self.table,
            columns=self.columns,
            version=self.version,
            publication=self.view.publication,
            as_of=self.view.as_of,
            ahead=ahead,
        )


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
    return Counting(counts, now.represents(ahead), events, whole=kept)


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
    return Counting(fresh, now.represents(ahead), events)
