"""The steps of a slate end where the answer ends, for any world, and each step follows from the one before."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from known_worlds import NOW, World, checkerboard, events, facts_of, worlds

from tidemill import models
from tidemill.models import SlateEngine
from tidemill.models.slates.slate_steps import EXCLUDED, SlateSteps, SteppedEngine


def stepped(world: World) -> SlateSteps:
    engine = world.engine(SteppedEngine)
    assert isinstance(engine, SteppedEngine)
    return engine.steps(
        world.history, world.times, world.n, exclude=world.exclude, candidates=world.candidates, as_of=NOW
    )


def chained(world: World, steps: SlateSteps) -> None:
    """Every step takes what the one before it left."""
    assert set().union(*(draw.items for draw in steps.draws)) == set(steps.candidates)
    assert len(set(steps.candidates)) == len(steps.candidates)
    standing = set(steps.candidates)
    for drop in steps.drops:
        assert set(drop.items) <= standing
        standing -= set(drop.items)
        assert drop.left == len(standing)
        if drop.rule == "unseen()":
            assert set(drop.items) <= set(world.history)
        if drop.rule == EXCLUDED:
            assert set(drop.items) <= set(world.exclude)
    scored = [score.item for score in steps.scores]
    assert Counter(scored) == Counter([*standing, *steps.filled])
    values = [score.score for score in steps.scores][: len(standing)]
    assert values == sorted(values, reverse=True)
    for score in steps.scores:
        assert sum(score.pieces.values()) == pytest.approx(score.score, abs=1e-5)
    best = scored[: len(standing)]
    for order in steps.orders:
        assert list(order.before) == best[: len(order.before)]
        assert Counter(order.before) == Counter(order.after)
        best = list(order.after)
    assert [*best[: world.n], *steps.filled] == steps.answer.items


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_the_steps_end_where_the_answer_ends(world: World) -> None:
    steps = stepped(world)
    assert steps.answer == world.ask(world.engine(SlateEngine))
    assert len(steps.text(str.upper).splitlines()) > 8
    if world.n > 0:
        chained(world, steps)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_nothing_is_left_from_the_question_before(world: World) -> None:
    engine = world.engine(SteppedEngine)
    assert isinstance(engine, SteppedEngine)
    asked = {"exclude": world.exclude, "candidates": world.candidates, "as_of": NOW}
    first = engine.steps(world.history, world.times, world.n, **asked)
    engine.steps([], [], 50)
    engine.answer(world.history, world.times, 3)
    assert engine.steps(world.history, world.times, world.n, **asked) == first


def dearest(candidates: models.Shortlist) -> np.ndarray:
    """A score of one's own: the number in an item's name."""
    return np.array([int(item[1:]) / 100 for item in candidates.items])


def low(candidates: models.Shortlist) -> np.ndarray:
    """A filter of one's own: nothing from i10 on."""
    return np.array([item < "i10" for item in candidates.items])


def test_each_step_of_a_known_slate() -> None:
    told = checkerboard()
    recommender = models.learn(models.cooccurrence(factors=0, spectral_share=0.0, popularity_share=0.2), told, NOW)
    stock = np.array([item != "i04" for item in recommender.items])
    there = np.ones(len(stock), np.bool_)
    category = np.array(["a" if item in ("i06", "i08") else item for item in recommender.items], object)
    facts = facts_of(
        recommender, told, columns={("facts", "in_stock"): (stock, there), ("facts", "category"): (category, there)}
    )
    slate = models.slate(
        retrieve=[models.nearest(50)],
        filter=[models.unseen(), models.eligible("in_stock"), low],
        score=[models.relevance(0.5), dearest],
        order=[models.diverse(by="category", strength=0.1)],
        fallback=models.popular(days=30),
    )
    rules = slate.rules({"facts": ["in_stock", "category"]})
    engine = SteppedEngine(recommender, rules, facts, {"low": low, "dearest": dearest})
    steps = engine.steps(["i00", "unheard-of"], [NOW - 1, NOW], 5, exclude=["i02"], as_of=NOW)
    assert steps.history == ("i00",)
    assert [(draw.rule, draw.part) for draw in steps.draws] == [("nearest(n=50)", "cooccurrence")]
    assert set(steps.candidates) == {"i02", "i04", "i06", "i08", "i10"}
    dropped = {drop.rule: drop.items for drop in steps.drops}
    assert dropped == {
        "unseen()": (),
        'eligible("in_stock", missing=False)': ("i04",),
        EXCLUDED: ("i02",),
        "low": ("i10",),
    }
    assert [drop.left for drop in steps.drops] == [5, 4, 3, 2]
    by_item = {score.item: score for score in steps.scores}
    assert set(by_item["i06"].pieces) == {"cooccurrence", "popularity", "dearest"}
    assert by_item["i08"].pieces["dearest"] == pytest.approx(0.08)
    assert by_item["i06"].pieces["cooccurrence"] <= 0.5 * 0.8 + 1e-6
    (order,) = steps.orders
    assert set(order.before) == {"i06", "i08"}
    assert len(steps.filled) == 3
    assert all(by_item[item].pieces["cooccurrence"] == 0.0 for item in steps.filled)
    text = steps.text()
    assert "low: i10" in text and "goes with i00" in text and "Fallback popular(days=30, n=100): 3 items" in text


def test_a_stranger_has_steps_too() -> None:
    told = events([("a", "i00", 90), ("b", "i00", 91), ("b", "i01", 92)])
    recommender = models.learn(models.popularity(days=30), told, NOW)
    rules = models.slate(retrieve=[models.trending(days=7)], filter=[models.unseen()]).rules({})
    steps = SteppedEngine(recommender, rules, facts_of(recommender, told)).steps([], [], 2, as_of=NOW)
    assert steps.history == () and steps.filled == ("i00", "i01")
    assert "no events (cold start)" in steps.text()
