"""A refreshed recommender is the one that would be learned, where all of it is counted; else what was learned stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from known_worlds import DAY, NOW, checkerboard, events

from tidemill import models
from tidemill.core.errors import LearnError
from tidemill.models import EventFacts, Interactions, LearnerSpec, Recommender, learn, learner_of, open_recommender
from tidemill.models.counts.additive_counts import counted
from tidemill.models.learners.incremental_refresh import counts_to_refresh, days_to_refresh, refresh_from_counts
from tidemill.models.recommender.recommender_file import write_recommender

LATER = NOW + 3 * DAY


def grown(told: Interactions) -> Interactions:
    """Three days on: a user takes more, a new one comes, an item is taken for the first time, one user has gone."""
    rows = [
        (told.users[user], told.items[item], int(time) / DAY)
        for user, item, time in zip(told.user, told.item, told.time, strict=True)
        if told.users[user] != "u05"
    ]
    more = [
        ("u00", "i03", 100.5),
        ("u00", "new", 101.0),
        ("w", "i01", 101.0),
        ("w", "new", 102.0),
        ("u02", "a0", 102.0),
    ]
    return events([*rows, *more])


def recent_of(told: Interactions, as_of: int) -> EventFacts:
    return EventFacts(told.items, item=told.item, time=told.time, as_of=as_of)


def brought_up(old: Recommender, told: Interactions, as_of: int) -> Recommender:
    counts = {settings: counted(settings, told) for settings in counts_to_refresh(old)}
    return refresh_from_counts(old, counts, recent_of(told, as_of))


ADDITIVE = [
    models.cooccurrence(factors=0, spectral_share=0.0, half_life="60 days"),
    models.cooccurrence(factors=0, spectral_share=0.0, lag_power=0.25, smooth=2.0, power=0.7, trend=0.4, trend_days=30),
    models.item_knn(factors=0, spectral_share=0.0, shrinkage=3.0),
    models.transitions(half_life="60 days", steps=2),
]


@pytest.mark.parametrize("spec", ADDITIVE, ids=lambda spec: spec.name)
def test_refreshing_is_learning_where_every_part_is_counted(spec: LearnerSpec, tmp_path: Path) -> None:
    told = checkerboard()
    write_recommender(learn(spec, told, NOW), tmp_path / "old")
    now = grown(told)
    fresh = brought_up(open_recommender(tmp_path / "old"), now, LATER)
    anew = learn(spec, now, LATER)
    for place, one in (("fresh", fresh), ("anew", anew)):
        write_recommender(one, tmp_path / place)
    files = {file.relative_to(tmp_path / "anew") for file in (tmp_path / "anew").rglob("*") if file.is_file()}
    assert files == {file.relative_to(tmp_path / "fresh") for file in (tmp_path / "fresh").rglob("*") if file.is_file()}
    for file in files:
        assert (tmp_path / "fresh" / file).read_bytes() == (tmp_path / "anew" / file).read_bytes(), file
    assert "new" in fresh.items
    assert fresh.codes["new"] in fresh.nearest([fresh.codes["i01"]], [LATER], 50).item


def test_vectors_stay_as_they_were_learned_and_are_zero_for_new_items() -> None:
    told = checkerboard()
    old = learn(models.cooccurrence(factors=3, spectral_share=0.3), told, NOW)
    fresh = brought_up(old, grown(told), LATER)
    before, after = old.parts["spectral"].vectors, fresh.parts["spectral"].vectors
    assert before and after
    for item in fresh.items:
        row = after.items[fresh.codes[item]]
        assert np.array_equal(row, before.items[old.codes[item]] if item in old.codes else np.zeros_like(row))
    anew = learn(models.cooccurrence(factors=0, spectral_share=0.0), grown(told), LATER)
    ours, theirs = fresh.lists, anew.lists
    assert ours and theirs
    assert np.array_equal(ours.weights, theirs.weights)
    answer = fresh.nearest([fresh.codes["i01"], fresh.codes["new"]], [NOW, LATER], 5)
    assert len(answer.item)


def test_lists_that_are_not_counted_stay_too() -> None:
    told = checkerboard()
    lists = learn(models.item_knn(factors=0, spectral_share=0.0), told, NOW).lists
    assert lists
    places = np.array([3, -1, 5, 7], np.int32)
    assert np.array_equal(lists.taking(places).matrix().toarray(), _taken(lists.matrix().toarray(), places))


def _taken(dense: np.ndarray, places: np.ndarray) -> np.ndarray:
    padded = np.pad(dense, ((0, 1), (0, 1)))
    return padded[places][:, places]


def test_what_has_to_be_counted_and_looked_at() -> None:
    told = checkerboard()
    both = learn(models.cooccurrence(factors=3, trend=0.2, trend_days=500), told, NOW)
    assert len(counts_to_refresh(both)) == 1
    assert days_to_refresh(both) == 500
    assert (
        learner_of(both.learner["learner"], both.learner).settings()
        == models.cooccurrence(factors=3, trend=0.2, trend_days=500).settled().settings()
    )
    spectral = learn(models.spectral(factors=3), told, NOW)
    assert counts_to_refresh(spectral) == []
    assert days_to_refresh(spectral) == 365
    with pytest.raises(LearnError, match="spectral has no counts to refresh from"):
        refresh_from_counts(spectral, {}, recent_of(told, NOW))


def test_a_blend_keeps_its_trees_over_fresh_lists() -> None:
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    rows = [(f"u{rng.integers(80)}", f"i{rng.integers(30):02}", float(rng.integers(0, 100))) for _ in range(1_500)]
    spec = models.blend(trees=5, min_leaf=5)
    old, now = learn(spec, events(rows), NOW), events([*rows, ("x", "new", 101.0), ("x", "i03", 102.0)])
    anew = learn(spec, now, LATER)
    assert days_to_refresh(old) is None
    with pytest.raises(LearnError, match="first event of each item"):
        brought_up(old, now, LATER)
    first_seen = np.full(now.n_items, LATER)
    np.minimum.at(first_seen, now.item, now.time)
    counts = {settings: counted(settings, now) for settings in counts_to_refresh(old)}
    fresh = refresh_from_counts(old, counts, recent_of(now, LATER), first_seen)
    assert fresh.ranking and old.ranking and anew.ranking
    assert fresh.ranking.ranker is old.ranking.ranker
    assert np.array_equal(fresh.ranking.first_seen, anew.ranking.first_seen)
    for name, part in fresh.parts.items():
        if part.lists:
            assert np.array_equal(part.lists.weights, anew.parts[name].lists.weights)  # type: ignore[union-attr]
    assert learner_of(fresh.learner["learner"], fresh.learner) == learner_of(old.learner["learner"], old.learner)
