"""Small worlds with known answers, and Hypothesis strategies for slates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tidemill import models
from tidemill.core.records.release import RuleSet
from tidemill.models import EventFacts, Interactions, Recommender, SlateEngine

DAY = 86_400_000_000
#: As-of of every world: a hundred days after the first instant.
NOW = 100 * DAY


def events(rows: Sequence[tuple[str, str, float]]) -> Interactions:
    """Interactions from `(user, item, day)`."""
    users, items, days = zip(*rows, strict=True)
    times = pa.array([round(day * DAY) for day in days], pa.timestamp("us", tz="UTC"))
    table = pa.table({"user_id": list(users), "item_id": list(items), "at": times})
    return Interactions.from_arrow(table, user="user_id", item="item_id", time="at")


def checkerboard(n_users: int = 12, n_items: int = 12) -> Interactions:
    """User u takes the items of u's parity, all but item u: what each one lacks is what he should be shown."""
    return events(
        [
            (f"u{user:02}", f"i{item:02}", 10 + (item * 7 + user) % 12)
            for user in range(n_users)
            for item in range(n_items)
            if user % 2 == item % 2 and user != item
        ]
    )


def facts_of(
    recommender: Recommender,
    told: Interactions,
    *,
    more: Sequence[str] = (),
    columns: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]] | None = None,
    version: str = "1",
) -> EventFacts:
    """Facts of a recommender's catalogue (and `more` items after it) as of `NOW`."""
    catalogue = [*recommender.items, *more]
    code = {item: i for i, item in enumerate(catalogue)}
    item = np.array([code[told.items[i]] for i in told.item], np.int32)
    return EventFacts(catalogue, item=item, time=told.time, as_of=NOW, columns=columns, version=version)


@dataclass(frozen=True)
class World:
    """A recommender, facts and one question, with what is eligible in plain sets."""

    recommender: Recommender
    facts: EventFacts
    rules: RuleSet
    history: list[str]
    times: list[int]
    n: int
    exclude: list[str]
    candidates: list[str] | None
    eligible: frozenset[str]

    def engine(self, kind: type[SlateEngine] = SlateEngine) -> SlateEngine:
        return kind(self.recommender, self.rules, self.facts, {"even_only": even_only})

    def ask(self, engine: SlateEngine) -> models.Slate:
        return engine.answer(
            self.history, self.times, self.n, exclude=self.exclude, candidates=self.candidates, as_of=NOW
        )

    def showable(self) -> set[str]:
        """What may be shown, worked out without the engine."""
        free = set(self.eligible) - set(self.history) - set(self.exclude)
        return free if self.candidates is None else free & set(self.candidates)


def even_only(candidates: models.Shortlist) -> np.ndarray:
    """A rule of one's own: only items with an even number."""
    return np.array([int(item[1:]) % 2 == 0 for item in candidates.items], np.bool_)


_SPECS = [
    models.cooccurrence(factors=3),
    models.cooccurrence(factors=0, spectral_share=0.0),
    models.item_knn(factors=2),
    models.spectral(factors=3),
    models.popularity(days=30),
]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any small catalogue and any question, leaning to the edges: all but k seen, nothing eligible, huge n, repeats."""
    n_items = draw(st.integers(1, 14))
    names = [f"i{number:02}" for number in range(n_items)]
    rows = [("u0", name, 1.0) for name in names]  # every item has been taken once
    row = st.tuples(st.sampled_from(["u1", "u2", "u3", "u4"]), st.sampled_from(names), st.integers(0, 99))
    told = events([*rows, *draw(st.lists(row, max_size=40))])
    spec = draw(st.sampled_from(_SPECS))
    recommender = models.learn(spec, told, NOW)
    more = [f"i{number:02}" for number in range(n_items, n_items + draw(st.integers(0, 3)))]
    catalogue = [*names, *more]
    stock = np.array(draw(st.lists(st.booleans(), min_size=len(catalogue), max_size=len(catalogue))), np.bool_)
    present = np.array(draw(st.lists(st.booleans(), min_size=len(catalogue), max_size=len(catalogue))), np.bool_)
    if draw(st.booleans()):
        stock[:] = draw(st.booleans())
    missing, own = draw(st.booleans()), draw(st.booleans())
    columns = {
        ("facts", "in_stock"): (stock, present),
        ("facts", "category"): (np.array([f"c{i % 3}" for i in range(len(catalogue))], object), present),
    }
    history = draw(st.lists(st.sampled_from([*catalogue, "unheard-of"]), max_size=2 * len(catalogue)))
    if draw(st.booleans()):  # all but k
        history = catalogue[draw(st.integers(0, 3)) :]
    rules = _rules(spec, missing, draw(st.booleans()), own)
    eligible = {
        name
        for name, has, there in zip(catalogue, stock, present, strict=True)
        if (has if there else missing) and (not own or int(name[1:]) % 2 == 0)
    }
    return World(
        recommender=recommender,
        facts=facts_of(recommender, told, more=more, columns=columns),
        rules=rules,
        history=history,
        times=draw(st.lists(st.integers(0, NOW), min_size=len(history), max_size=len(history))),
        n=draw(st.sampled_from([0, 1, 2, 3, 5, 10, 50])),
        exclude=draw(st.lists(st.sampled_from([*catalogue, "unheard-of"]), max_size=4)),
        candidates=draw(st.none() | st.lists(st.sampled_from([*catalogue, "unheard-of"]), max_size=12)),
        eligible=frozenset(eligible),
    )


def _rules(spec: models.LearnerSpec, missing: bool, spread: bool, own: bool) -> RuleSet:
    drawn = [models.trending(days=7, n=3)]
    if spec.name != "popularity":
        drawn.insert(0, models.nearest(2))
    filters = [models.unseen(), models.eligible("in_stock", missing=missing), *([even_only] if own else [])]
    slate = models.slate(
        retrieve=drawn,
        filter=filters,
        order=[models.diverse(by="category")] if spread else [],
        fallback=models.popular(days=30),
    )
    return slate.rules({"facts": ["in_stock", "category"]})
