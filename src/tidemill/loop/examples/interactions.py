"""Interactions: the training data of a recommender, read from one publication."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.ports import Engine
from tidemill.core.processes.memory import require_memory, share_that_fits
from tidemill.lake import LakeSnapshot
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.models import EventFacts, Interactions, LearnerSpec
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.models.recommender.interactions import I64


def rows_of(events: Interactions) -> str:
    """sha256 over users, items and times in training order: equal rows have equal hashes."""
    digest = hashlib.sha256()
    for names in (events.users, events.items):
        digest.update("\0".join(names).encode() + b"\0\0")
    for codes in (events.user, events.item, events.time):
        digest.update(np.ascontiguousarray(codes).data)
    return digest.hexdigest()


#: The letters of surrogates in the order of their bytes.
_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"


def first_letters(share: float) -> str:
    """Letters that this share of all surrogates precedes: they are uniform, and the same on every engine.

    >>> first_letters(0.5)
    'k22222'
    """
    left = min(round(share * 32**6), 32**6 - 1)
    return "".join(_LETTERS[left >> shift & 31] for shift in (25, 20, 15, 10, 5, 0))


@dataclass(frozen=True)
class LearningEvents:
    """A model's interactions in one snapshot of the lake."""

    view: LakeSnapshot
    table: str
    subject: str
    item: str
    time: str
    #: The column that orders events at the same time, if the table has it.
    row: str | None
    engine: Engine
    #: Share of the people whose events `all` reads.
    sample: float = 1.0

    @classmethod
    def from_snapshot(cls, graph: ProjectGraph, model: RecommenderDeclaration, view: LakeSnapshot) -> LearningEvents:
        """The interactions that `model` is trained on."""
        roles = graph.roles(model)
        row = "_row" if "_row" in graph.schemas[model.interactions].names else None
        return cls(view, model.interactions, roles.subject, roles.item, roles.time, row, graph.engine, model.sample)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.subject, self.item, self.time, *([self.row] if self.row else []))

    @property
    def version(self) -> int:
        """The table's version."""
        return self.view.versions[self.table]

    @property
    def on_engine(self) -> bool:
        """Whether everything that counts can give is counted on the engine: there, or where a sample is read here."""
        return self.row is not None and (self.sample < 1 or not self.engine.in_process)

    def all(self, learner: LearnerSpec) -> Interactions:
        """Every published event of the sample, at any time; raises `TooLittleData` if there is none.

        Raises `MemoryTooSmall` before anything is read if training `learner` on them needs more than the machine has.
        """
        self.require_memory(learner)
        if self.sample == 1:
            return self._of(self.view.arrow(self.table, self.columns))
        drawn = (
            self.view.scan(self.table).select(*self.columns).filter(nw.col(self.subject) < first_letters(self.sample))
        )
        return self._of(self.engine.collect(drawn))

    def memory_bytes(self, learner: LearnerSpec) -> int:
        """About the memory that reading these events and training `learner` on them takes."""
        return round(self.view.rows(self.table) * self.sample * learner.CAPABILITIES.event_bytes)

    def require_memory(self, learner: LearnerSpec) -> None:
        """Raise `MemoryTooSmall` if that is more than the machine has."""
        need = self.memory_bytes(learner)
        fits = f"{share_that_fits(need, self.sample):.1g}"
        require_memory(
            need,
            f"to train {learner.name} on {round(self.view.rows(self.table) * self.sample):,} rows of {self.table}",
            f"write sample={fits} in mill.recommender(…): counts still use all rows; or choose another learner",
        )

    def whole(self) -> EngineEvents:
        """All events before the view's as-of, on the engine."""
        frame = self.view.scan(self.table).filter(nw.col(self.time) < from_micros(self.view.as_of))
        return EngineEvents(
            self.engine, frame, self.subject, self.item, self.time, self.row or self.time, self.view.as_of
        )

    def read(self, keys: pa.Table | None = None) -> tuple[Interactions, int]:
        """Events before the view's as-of, of all people or of the given ones, and the number of later events."""
        rows = self.view.arrow(self.table, self.columns, keys=keys)
        if not rows.num_rows:
            return Interactions.none(), 0
        events = self._of(rows)
        known = events.before(self.view.as_of)
        return known, len(events) - len(known)

    def _of(self, rows: pa.Table) -> Interactions:
        return Interactions.from_arrow(rows, user=self.subject, item=self.item, time=self.time, row=self.row)

    def recent(self, stores: Stores, items: Sequence[str], days: int | None) -> tuple[EventFacts, I64]:
        """Facts about these sorted `items` from events of the last `days` (`None`: of all time), and the time of each
        item's first such event, int64 (n_items); the as-of if there is none.
        """
        frame = self.view.scan(self.table).select(self.item, self.time)
        if days is not None:
            frame = frame.filter(nw.col(self.time) >= from_micros(self.view.as_of - days * DAY_US))
        rows = stores.engine.collect(frame)
        places = pc.index_in(rows[self.item].cast(pa.string()), value_set=pa.array(items, pa.string()))
        item = places.fill_null(-1).to_numpy().astype(np.int64)
        time = rows[self.time].cast(pa.int64()).to_numpy()
        known = (item >= 0) & (time < self.view.as_of)
        item, time = item[known], time[known]
        first = np.full(len(items), self.view.as_of, np.int64)
        np.minimum.at(first, item, time)
        return EventFacts(items, item=item, time=time, as_of=self.view.as_of), first
