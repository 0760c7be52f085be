"""Counts of pairs on the engine: a group-by of pairs over all events, of which only the largest come to this process.

A worker counts the pairs of the users in its part, with the code that counts in one process. The engine sums these
integers by pair, so the counts are equal, bit for bit. A bound on the weights then selects the pairs that can be in a
list, and the lists are computed from their integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.clock import from_micros
from tidemill.core.errors import TooLittleData
from tidemill.core.ports import Engine
from tidemill.models.counts.additive_counts import CountedLists, Counts, CountSettings, ListFacts, PairBound
from tidemill.models.counts.item_tally import ItemTally
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.models.recommender.interactions import I64, Interactions
from tidemill.models.recommender.recent_popularity import WINDOWS

#: Events in one part: a worker holds their pairs in memory.
PART_EVENTS = 200_000
#: Pairs within this share of the last weight of a list come along: weights of engines differ in their last digits.
MARGIN = 1e-5
#: Weights below this one are not compared, because they have fewer digits.
SMALLEST = 1e-30
PAIRS = pa.schema([(name, pa.int64()) for name in ("span", "a", "b", "n")])


@dataclass(frozen=True)
class EngineFacts:
    """The items of the events, sorted, the number of events of each, and the time of the first (microseconds)."""

    items: list[str]
    as_of: int
    n_users: int
    first: I64
    _counts: Mapping[int | None, I64]

    def counts(self, days: int | None) -> I64:
        """int64 (n_items): events in the last `days` before the as-of; `None`: of all time."""
        return self._counts[days]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self._counts[None].sum())


@dataclass(frozen=True, eq=False)
class EngineEvents:
    """Events as a frame of an engine: all of them are earlier than `as_of` (microseconds)."""

    engine: Engine
    frame: nw.LazyFrame[Any]
    #: Names of the columns; `row` orders events at the same time.
    user: str
    item: str
    time: str
    row: str
    as_of: int
    #: Further windows, in days, that a learner needs the events of.
    days: frozenset[int] = frozenset()

    @cached_property
    def facts(self) -> EngineFacts:
        """What is known of each item. Raises `TooLittleData` without events, and for a missing value."""
        time, windows = nw.col(self.time), sorted({*WINDOWS, *self.days})
        recent = [
            (time >= from_micros(self.as_of - days * DAY_US)).cast(nw.Int64).sum().alias(f"n{days}") for days in windows
        ]
        known = self.frame.select(self.user, self.item, self.time)
        found = self.engine.collect(
            known.group_by(self.item).agg(
                nw.len().alias("n"), time.min().alias("first"), time.count().alias("times"),
                nw.col(self.user).count().alias("users"), *recent,
            )
        )  # fmt: skip
        if not found.num_rows:
            raise TooLittleData("there are no events before the as-of to train on")
        if (
            found[self.item].null_count
            or pc.min(pc.equal(found["n"], found["times"])).as_py() is False
            or pc.min(pc.equal(found["n"], found["users"])).as_py() is False
        ):
            raise TooLittleData("interactions need a value in every row: a user, an item or a time is missing")
        found = found.sort_by(self.item)
        n_users = self.engine.collect(known.select(nw.col(self.user).n_unique().alias("n")))["n"][0].as_py()
        counts: dict[int | None, I64] = {days: found[f"n{days}"].to_numpy() for days in windows}
        return EngineFacts(
            found[self.item].to_pylist(), self.as_of, n_users, found["first"].cast(pa.int64()).to_numpy(),
            counts | {None: found["n"].to_numpy()},
        )  # fmt: skip

    def pairs(self, settings: CountSettings) -> nw.LazyFrame[Any]:
        """The counts of all pairs: by span, the sum for items `a` and `b`; for `a` and `a`, that of the item."""
        return self._of_parts(partial(_pairs_of, settings=settings)).group_by("span", "a", "b").agg(nw.col("n").sum())

    def counted_here(self, settings: CountSettings) -> Counts:
        """The counts of all pairs, part by part in this process, which is where the engine must be."""
        total = settings.none()

        def add(events: Interactions) -> pa.Table:
            nonlocal total
            total = total.changed(Interactions.none(), replace(events, items=self.facts.items))
            return PAIRS.empty_table()

        self.engine.collect(self._of_parts(add))
        return total

    def _of_parts(self, apply: Callable[[Interactions], pa.Table]) -> nw.LazyFrame[Any]:
        """A frame of what `apply` returns for all events of some users; the items are codes."""
        items = self.facts.items
        code, row = "_code", "_order"
        codes = self.engine.frame(pa.table({self.item: items, code: np.arange(len(items))}))
        rows = self.frame.select(self.user, self.item, self.time, nw.col(self.row).alias(row)).join(codes, on=self.item)
        parts = max(1, -(-self.facts.n_events // PART_EVENTS))
        names = (self.user, code, self.time, row)
        of_part = partial(_apply_to_part, apply=apply, names=names, n=len(items))
        return self.engine.map_parts([rows.select(*names)], [self.user], parts, of_part, PAIRS)


def _apply_to_part(
    rows: pa.Table, *, apply: Callable[[Interactions], pa.Table], names: tuple[str, str, str, str], n: int
) -> pa.Table:
    user, code, time, row = names
    users = rows[user].combine_chunks().dictionary_encode()
    if isinstance(users, pa.ChunkedArray):
        users = users.combine_chunks()
    of_user: Any = users.indices.to_numpy()
    times, order = rows[time].cast(pa.int64()).to_numpy(), rows[row].to_numpy()
    place = np.lexsort((order, times, of_user))
    item = rows[code].to_numpy()[place].astype(np.int32)
    items: Any = range(n)
    return apply(Interactions(users.dictionary, items, of_user[place].astype(np.int32), item, times[place]))


def _pairs_of(events: Interactions, *, settings: CountSettings) -> pa.Table:
    n = events.n_items
    found = []
    for span, matrix in settings.pair_sums(events, np.arange(n, dtype=np.int32), n):
        sums = matrix.tocoo()
        columns = (np.full(sums.nnz, span, np.int64), sums.row.astype(np.int64), sums.col.astype(np.int64), sums.data)
        found.append(pa.table(columns, schema=PAIRS))
    return pa.concat_tables([PAIRS.empty_table(), *found])


def engine_counts(events: EngineEvents, makes: Sequence[CountedLists]) -> dict[CountSettings, Counts]:
    """For each settings, the counts of the pairs that are in a list of one of `makes`, and of all items.

    Lists computed from them are equal to those from all pairs. An engine in this process gives all pairs, because
    sparse matrices need less of its memory than frames.
    """
    found: dict[CountSettings, Counts] = {}
    for kind in dict.fromkeys(make.settings for make in makes):
        if events.engine.in_process:
            found[kind] = events.counted_here(kind)
            continue
        bounds = [make.bound for make in makes if make.settings == kind]
        known = [bound for bound in bounds if bound is not None]
        whole = len(known) < len(bounds)  # lists that do not say which pairs they need
        found[kind] = all_counts(events, kind) if whole else _largest(events, kind, known)
    return found


def all_counts(events: EngineEvents, settings: CountSettings) -> Counts:
    """The counts of all pairs, in this process."""
    return _counts(events, settings, events.engine.collect(events.pairs(settings)))


def _largest(events: EngineEvents, settings: CountSettings, bounds: Iterable[PairBound]) -> Counts:
    engine = events.engine
    with ExitStack() as stack:
        kept = stack.enter_context(engine.persist(events.pairs(settings), PAIRS)).frame
        single = engine.collect(kept.filter(nw.col("a") == nw.col("b")))
        of_items = _counts(events, settings, single)
        pairs = kept.filter(nw.col("a") != nw.col("b"))
        wanted = [_in_lists(events, pairs, bound, of_items) for bound in bounds]
        either = nw.concat([*wanted, *(one.select(a=nw.col("b"), b=nw.col("a")) for one in wanted)]).unique()
        found = engine.collect(pairs.join(either, on=["a", "b"], how="semi").select(*PAIRS.names))
    return _counts(events, settings, pa.concat_tables([single.select(PAIRS.names), found]))


def _in_lists(events: EngineEvents, pairs: nw.LazyFrame[Any], bound: PairBound, of_items: Counts) -> nw.LazyFrame[Any]:
    """The pairs `a`, `b` that can be in a list: their weight is at least that of the last one, less a margin."""
    weights = bound.weights(events.engine, pairs, of_items, events.facts).filter(nw.col("weight") > 0)
    place = nw.col("weight").rank("ordinal", descending=True).over("a")
    placed = weights.with_columns(last=nw.when(place <= bound.neighbours).then(nw.col("weight")))
    last = placed.with_columns(last=nw.col("last").min().over("a"))
    enough = (nw.col("weight") >= nw.col("last") * (1 - MARGIN)) | (nw.col("last") < SMALLEST)
    return last.filter(enough).select("a", "b")


def _counts(events: EngineEvents, settings: CountSettings, rows: pa.Table) -> Counts:
    facts = events.facts
    columns = {name: rows[name].to_numpy() for name in PAIRS.names}
    order = np.lexsort((columns["b"], columns["a"], columns["span"]))
    tally = ItemTally(facts.items, facts.counts(None), facts.n_users)
    return settings.from_sums(tally, *(columns[name][order] for name in PAIRS.names))


@dataclass(frozen=True)
class CosineBound:
    """The shrunk cosine of common users; see `item_knn`."""

    shrinkage: float
    neighbours: int

    def weights(self, engine: Engine, pairs: nw.LazyFrame[Any], of_items: Any, facts: ListFacts) -> nw.LazyFrame[Any]:
        norm = np.sqrt(np.maximum(of_items.matrix(facts.items).diagonal(), 1))
        both = _with_items(engine, pairs, left=norm, right=norm)
        shared = nw.col("n").cast(nw.Float64)
        weight = shared * shared / (shared + self.shrinkage) / (nw.col("left") * nw.col("right"))
        return both.select("a", "b", weight=weight)


@dataclass(frozen=True)
class CooccurrenceBound:
    """The damped sum of pairs of both directions; see `PairCounts.matrix`, which takes `shape`."""

    neighbours: int
    trend_days: int
    shape: dict[str, Any] = field(hash=False)

    def weights(self, engine: Engine, pairs: nw.LazyFrame[Any], of_items: Any, facts: ListFacts) -> nw.LazyFrame[Any]:
        recent = facts.counts(self.trend_days) if self.shape.get("trend") else None
        factors = of_items.factors(facts.items, facts.as_of, recent=recent, **self.shape)
        decays = of_items.decays(facts.as_of)
        spans = engine.frame(pa.table({"span": list(decays), "decay": list(decays.values())}))
        weight = nw.col("weight")
        total = pairs.join(spans, on="span").select("a", "b", weight=nw.col("n").cast(nw.Float64) * nw.col("decay"))
        backward = self.shape.get("backward", 0.0)
        if backward:
            other = total.select(a=nw.col("b"), b=nw.col("a"), weight=weight * backward)
            total = nw.concat([total, other])
        total = total.group_by("a", "b").agg(weight.sum())
        both = _with_items(engine, total, left=factors.left, right=factors.right, boost=factors.boost)
        power = self.shape.get("power", 1.0)
        damped = weight * nw.col("left") * nw.col("right")
        return both.select("a", "b", weight=(damped if power == 1 else damped**power) * nw.col("boost"))


def _with_items(engine: Engine, pairs: nw.LazyFrame[Any], *, left: Any, **right: Any) -> nw.LazyFrame[Any]:
    """Pairs with a value of item `a`, and others of item `b`."""
    codes = np.arange(len(left))
    with_left = pairs.join(engine.frame(pa.table({"a": codes, "left": left})), on="a")
    arrays: dict[str, Any] = {"b": codes} | right
    return with_left.join(engine.frame(pa.table(arrays)), on="b")
