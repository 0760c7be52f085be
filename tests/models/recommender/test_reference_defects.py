"""Defects that a well-known demo of this kind of recommender has, each shown to be caught where it would come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_worlds import DAY, NOW, checkerboard, events, facts_of

from tidemill import models
from tidemill.models import Interactions, Recommender, SlateEngine, learn
from tidemill.models.recommender.exact_search import ExactIndex
from tidemill.models.recommender.user_vectors import Vectors

SLATE = models.slate(retrieve=[models.nearest(5)], filter=[models.unseen()]).rules({})


def unequal() -> Interactions:
    """Two groups of items, some of them taken far more often than others, so that angle and product disagree."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(60):
        mine = np.arange(12) + 12 * (user % 2)
        share = (np.arange(12) + 1.0) ** -1.2
        taken = rng.choice(mine, 5, replace=False, p=share / share.sum())
        rows += [(f"u{user:02}", f"i{item:02}", float(rng.integers(0, 90))) for item in taken]
    return events(rows)


def searched_as_trained(recommender: Recommender) -> None:
    """What the index puts first is what the model scores highest."""
    for history in ([0], [1, 2], [13, 20, 15]):
        profile = recommender.profile(history, list(range(len(history))))
        (drawn,) = profile.draw(5, "spectral")
        everything = profile.relevance(np.arange(recommender.n_items, dtype=np.int32))
        edge = np.sort(everything)[::-1][4 + len(history)]
        assert everything[drawn].min() >= edge - 1e-6


def test_defect_5_trained_on_one_measure_and_searched_by_another() -> None:
    recommender = learn(models.spectral(factors=4), unequal(), NOW)
    searched_as_trained(recommender)
    assert recommender.vectors is not None
    length = np.linalg.norm(recommender.vectors.items, axis=1, keepdims=True)
    by_angle = ExactIndex(recommender.vectors.items / np.where(length > 0, length, 1))
    with pytest.raises(AssertionError):
        part = replace(recommender.parts["spectral"], index=by_angle)
        searched_as_trained(replace(recommender, parts={"spectral": part}))


def user_vector_is_served(kind: type[Vectors]) -> None:
    """An answer's spectral score is the product of the trained user's vector and the item's."""
    told = unequal()
    recommender = learn(models.spectral(factors=4, recency="100000 days"), told, NOW)
    trained = recommender.vectors
    assert isinstance(trained, Vectors)
    part = replace(recommender.parts["spectral"], vectors=kind(trained.encoder, trained.items))
    served = replace(recommender, parts={"spectral": part})
    for user in range(10):
        items, times = told.history(user)
        profile = served.profile(items.tolist(), times.tolist())
        found = profile.relevance(np.arange(served.n_items, dtype=np.int32))
        newest = dict(zip(items.tolist(), times.tolist(), strict=True))
        order = sorted(newest, key=lambda item: newest[item], reverse=True)
        weights = np.arange(1, len(order) + 1) ** -0.3
        expected = np.clip(trained.items @ (weights @ trained.encoder[order]), 0, None)
        assert np.allclose(found, expected / expected.max(), atol=2e-2)


class LastItemOnly(Vectors):
    """Wrong: looks for items near the last one, and leaves the user's vector on the shelf."""

    def user(self, history, weights):
        return self.items[history[0]]


def test_defect_6_the_user_vector_is_trained_and_never_served() -> None:
    user_vector_is_served(Vectors)
    with pytest.raises(AssertionError):
        user_vector_is_served(LastItemOnly)


def ids_are_stable(learned) -> None:
    """Rows in another order give the same item the same code and the same neighbours."""
    told = unequal()
    one, other = learned(told, 0), learned(told, 1)
    assert list(one.items) == list(other.items)
    for item in one.items[:6]:
        answers = [r.nearest([r.codes[item]], [DAY], 5) for r in (one, other)]
        assert [one.items[i] for i in answers[0].item] == [other.items[i] for i in answers[1].item]


def test_defect_7_ids_are_drawn_anew_at_each_training() -> None:
    def sound(told: Interactions, seed: int) -> Recommender:
        return learn(models.cooccurrence(factors=2), told, NOW)

    def drawn_anew(told: Interactions, seed: int) -> Recommender:
        """Wrong: the names of the codes depend on the training."""
        names = np.random.default_rng(seed).permutation(np.array(told.items)).tolist()
        return replace(sound(told, seed), items=names)

    ids_are_stable(sound)
    with pytest.raises(AssertionError):
        ids_are_stable(drawn_anew)


def index_holds_trained_items_only(recommender: Recommender, told: Interactions) -> None:
    """Nothing is drawn that had no event before the as-of."""
    trained = {told.items[i] for i in told.item[told.time < recommender.as_of]}
    assert set(recommender.items) <= trained
    for item in sorted(trained & set(recommender.items)):
        found = recommender.nearest([recommender.codes[item]], [DAY], 50)
        assert {recommender.items[i] for i in found.item} <= trained


def test_defect_8_items_that_were_never_trained_sit_in_the_index() -> None:
    told = events([("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "b", 4), ("w", "later", 50), ("w", "a", 51)])
    recommender = learn(models.cooccurrence(factors=2), told, 20 * DAY)
    index_holds_trained_items_only(recommender, told)
    whole = replace(learn(models.cooccurrence(factors=2), told, NOW), as_of=20 * DAY)
    with pytest.raises(AssertionError):
        index_holds_trained_items_only(whole, told)


def answers_are_full(kind: type[SlateEngine]) -> None:
    """A user who has seen the whole top is shown n other items."""
    told = checkerboard()
    recommender = learn(models.cooccurrence(factors=2), told, NOW)
    engine = kind(recommender, SLATE, facts_of(recommender, told))
    history = [f"i{item:02}" for item in range(0, 12, 2)]
    assert len(engine.answer(history, range(6), 6)) == 6


class DropsSeenLast(SlateEngine):
    """Wrong: takes the best of all and then drops what was seen."""

    def _answer(self, question):
        self._open[:] = self._plan.allowed
        found = super()._answer(question)
        seen = {self._plan.items[item] for item in question.profile.history}
        keep = [i for i, item in enumerate(found.items) if item not in seen]
        return replace(found, items=[found.items[i] for i in keep])


def test_defect_9_seen_items_are_dropped_after_the_top_and_answers_come_short() -> None:
    answers_are_full(SlateEngine)
    with pytest.raises(AssertionError):
        answers_are_full(DropsSeenLast)


def strangers_are_answered(kind: type[SlateEngine]) -> None:
    """Nobody is refused: no history, and a history of unknown items, are answered in full."""
    told = checkerboard()
    recommender = learn(models.cooccurrence(factors=2), told, NOW)
    engine = kind(recommender, SLATE, facts_of(recommender, told))
    assert len(engine.answer([], [], 10)) == 10
    assert len(engine.answer(["never heard of"], [1], 10)) == 10


class KnownUsersOnly(SlateEngine):
    """Wrong: whoever was not there at training is an error."""

    def answer(self, items, times, n, **more):
        if not any(item in self._recommender.codes for item in items):
            raise AssertionError("404")
        return super().answer(items, times, n, **more)


def test_defect_10_an_unknown_user_is_refused() -> None:
    strangers_are_answered(SlateEngine)
    with pytest.raises(AssertionError):
        strangers_are_answered(KnownUsersOnly)
