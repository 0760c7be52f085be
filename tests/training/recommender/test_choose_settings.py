"""Choosing: the better setting wins on validation days, the test days stay unseen, what is tried is what serves."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_days import shop

from tidemill import models
from tidemill.core.search_space import grid
from tidemill.models import EventFacts, Interactions, SlateEngine, learn, popular, slate, unseen
from tidemill.training import choose, split_at
from tidemill.training.recommender.evaluation import answers
from tidemill.training.recommender.splits import validation_splits
from tidemill.training.recommender.validation import EVENTS, ValidationWindow, ranked, thinned

SPEC = models.cooccurrence(
    half_life="365 days", gap="100 days", backward=1.0, damping=0.25, recency="365 days", factors=0
)
FULL = SPEC.settled().settings()


@pytest.mark.parametrize("values", [(1.0, 0.1), (0.1, 1.0), (1.0, 0.1, 0.9)])
def test_a_setting_that_helps_is_chosen(values, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shop of separate tastes popularity alone is the worst that there is, wherever it stands in the grid."""
    monkeypatch.setattr(models.Cooccurrence, "GRID", {"popularity_share": values})
    choice = choose(models.cooccurrence(**FULL | {"popularity_share": None}), shop(300))
    assert choice.spec.popularity_share == 0.1
    assert choice.tried[0]["popularity_share"] == 0.1
    scores = [row["score"] for row in choice.tried]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(values)


def test_a_tie_keeps_the_first_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.Cooccurrence, "GRID", {"max_lag": (60, 59)})
    settings = FULL | {"max_lag": None}
    assert choose(models.cooccurrence(**settings), shop(300)).spec.max_lag == 60


def test_what_is_given_is_not_chosen() -> None:
    train = split_at(shop(300)).train
    assert choose(models.cooccurrence(popularity_share=0.9, factors=0), train).spec.popularity_share == 0.9
    settled = models.cooccurrence().settled()
    assert choose(settled, train).tried == ()
    assert choose(settled, train).spec == settled


def scrambled_after(told: Interactions, at: int) -> Interactions:
    """The same days before `at`, nonsense from then on."""
    later = told.time >= at
    item = told.item.copy()
    item[later] = np.random.default_rng(9).permutation(item[later])
    return Interactions(told.users, told.items, told.user, item, told.time)


def test_the_test_days_do_not_move_the_choice() -> None:
    told = shop(400)
    at = split_at(told).at
    other = scrambled_after(told, at)
    assert not np.array_equal(told.item, other.item)
    choices = [choose(SPEC, split_at(events, at).train) for events in (told, other)]
    assert choices[0] == choices[1]
    peeking = [choose(SPEC, events) for events in (told, other)]  # the variant that chooses on all days
    assert peeking[0].tried != peeking[1].tried


def test_too_few_warm_users_choose_nothing() -> None:
    choice = choose(SPEC, shop(12))
    assert choice.tried == ()
    assert choice.spec == SPEC.settled()


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        models.cooccurrence(factors=4, spectral_share=0.5),
        models.item_knn(factors=4, popularity_share=0.0),
        models.spectral(factors=4),
    ],
    ids=lambda spec: f"{spec.name}-{spec.factors}",
)
def test_what_is_tried_is_what_serves(spec) -> None:
    """The quick ranking of all users at once is the slate's, item for item."""
    (split, *_) = validation_splits(shop(300))
    settled = spec.settled()
    window = ValidationWindow.from_split(split)
    recommender = learn(settled, split.train, split.at)
    facts = EventFacts(split.train.items, item=split.train.item, time=split.train.time, as_of=split.at)
    rules = slate(retrieve=[models.nearest(500), popular(365, n=500)], filter=[unseen()]).rules({})
    served = answers(SlateEngine(recommender, rules, facts), split.train, window.users)
    tried = ranked(settled, window)
    same = [len(set(a[:10].tolist()) & set(b.tolist())) / len(b) for a, b in zip(served, tried, strict=True)]
    assert np.mean(same) > 0.99  # all but ties at the edge


def test_large_histories_are_thinned_by_whole_users() -> None:
    told = shop(50)
    assert thinned(told) is told
    many = Interactions(told.users, told.items, told.user, told.item, told.time)
    copies = EVENTS // len(told) + 1
    user = np.concatenate([many.user + n * told.n_users for n in range(copies)]).astype(np.int32)
    names = [f"{name}-{n}" for n in range(copies) for name in told.users]
    large = Interactions(names, told.items, user, np.tile(told.item, copies), np.tile(told.time, copies))
    kept = thinned(large)
    assert len(kept) <= EVENTS
    sizes = dict(zip(large.users, np.diff(large.starts).tolist(), strict=True))
    assert all(sizes[name] == size for name, size in zip(kept.users, np.diff(kept.starts).tolist(), strict=True))


def test_events_without_times_are_chosen_on_too() -> None:
    told = shop(300)
    flat = Interactions(told.users, told.items, told.user, told.item, np.zeros(len(told), np.int64))
    choice = choose(models.spectral(factors=4), flat)
    assert choice.tried[0]["score"] > choice.tried[-1]["score"] > 0
    assert choice.tried[0]["n_users"] > 200
    assert choice.spec.open() == {}


def test_factors_to_try_grow_with_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.models.learners.spectral.EVENTS_PER_FACTOR", 20)
    train = split_at(shop(300)).train
    most = 2 ** round(np.log2(len(train) / 20))
    assert most == 64
    choice = choose(models.spectral(smoothing=3.0), train)
    assert {row["factors"] for row in choice.tried} == {16, 64}
    assert choice.spec.factors == choice.tried[0]["factors"]
    ranged = choose(models.spectral(smoothing=grid(3.0, 10.0), gain=0.5, rank_power=0.3), train)
    assert max(row["factors"] for row in ranged.tried if "factors" in row) == 64


@pytest.mark.parametrize("spec", [models.cooccurrence(factors=0), models.spectral(factors=4)], ids=lambda s: s.name)
def test_the_first_step_of_training_is_shared_by_the_settings_that_allow_it(
    spec: models.LearnerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer first steps than arrays, and the same figures as without sharing."""
    train = split_at(shop(300)).train
    kind = type(spec.settled().make())
    steps: list[str] = []
    for step in ("first", "second"):
        real = getattr(kind, step)
        monkeypatch.setattr(kind, step, lambda *given, step=step, real=real: steps.append(step) or real(*given))
    shared = choose(spec, train)
    assert 0 < steps.count("first") < steps.count("second")
    monkeypatch.setattr(ValidationWindow, "once", lambda self, name, key, make: make())
    assert choose(spec, train) == shared


def test_progress_is_told_while_choosing() -> None:
    told: list[tuple[str, dict]] = []
    choice = choose(SPEC, split_at(shop(300)).train, progress=lambda step, figures: told.append((step, figures)))
    assert len(told) == len(choice.tried) == told[-1][1]["of"]
    assert [figures["tried"] for _, figures in told] == list(range(1, len(told) + 1))
