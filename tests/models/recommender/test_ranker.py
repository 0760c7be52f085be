"""The ranker: what decides wins, the same input gives the same trees, and nothing but plain trees is opened."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_worlds import DAY, NOW, events, facts_of

from tidemill.core.errors import BackendMissing, BundleCorrupt, BundleRefused, FormatTooNew, TooLittleData
from tidemill.core.records.release import RuleSet
from tidemill.models import (
    Blend,
    Cooccurrence,
    Interactions,
    ItemKnn,
    Recommender,
    SlateEngine,
    blend,
    learn,
    nearest,
    popular,
    unseen,
)
from tidemill.models.learners.blend import first_seen
from tidemill.models.learners.lambdamart import fit_ranker
from tidemill.models.learners.two_hop import two_hop_weights
from tidemill.models.recommender.ranker import Ranker
from tidemill.models.recommender.ranker_features import HISTORY_FEATURES, ITEM_FEATURES, feature_names, item_features
from tidemill.models.recommender.recommender_file import open_recommender, write_recommender

pytest.importorskip("lightgbm")
NAMES = ("noise", "deciding", "more_noise")


def questions(n: int = 200, each: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In each query the row with the largest second feature is the one that was taken."""
    features = np.random.default_rng(0).random((n * each, 3)).astype(np.float32)
    labels = np.zeros(n * each, np.int64)
    labels[np.arange(n) * each + features[:, 1].reshape(n, each).argmax(axis=1)] = 1
    return features, labels, np.full(n, each)


def fitted(**settings: Any) -> Ranker:
    return fit_ranker(*questions(), NAMES, **({"trees": 20, "min_leaf": 20} | settings))


def test_the_feature_that_decides_wins() -> None:
    ranker = fitted()
    features = np.random.default_rng(1).random((500, 3)).astype(np.float32)
    features[:, 1] = np.linspace(0, 1, 500)
    scores = ranker.scores(features)
    assert scores.dtype == np.float32
    assert scores.min() > 0
    assert scores.max() < 1
    assert scores[-50:].min() > scores[:250].max()
    importance = ranker.importance()
    assert next(iter(importance)) == "deciding"
    assert importance["deciding"] > 0.9
    assert sum(importance.values()) == pytest.approx(1)


def test_learning_tells_how_it_goes_and_the_trees_do_not_depend_on_who_listens() -> None:
    told: list[tuple[int, float]] = []
    ranker = fitted(trees=12, told=lambda tree, ndcg: told.append((tree, ndcg)))
    assert [tree for tree, _ in told] == [5, 10, 12]
    assert 0.5 < told[0][1] <= told[-1][1] <= 1
    assert ranker.text == fitted(trees=12).text


def test_scores_keep_the_order_of_the_margins() -> None:
    ranker, features = fitted(), questions()[0]
    margin = ranker._booster.predict(features, raw_score=True)
    order = np.argsort(margin, kind="stable")
    assert (np.diff(ranker.scores(features)[order]) >= 0).all()


def test_the_same_input_gives_the_same_trees() -> None:
    assert fitted().text == fitted().text


def test_a_written_ranker_is_opened_as_it_was(tmp_path: Path) -> None:
    made, features = fitted(), questions()[0]
    made.write(tmp_path)
    opened = Ranker.open(tmp_path)
    assert opened.features == NAMES
    assert opened.made_with == made.made_with
    assert np.array_equal(opened.scores(features), made.scores(features))
    assert opened.scores(features[:0]).shape == (0,)
    with pytest.raises(ValueError, match="has 3 features"):
        opened.scores(features[:, :2])


def changed(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_what_is_no_plain_trees_is_refused(tmp_path: Path) -> None:
    fitted().write(tmp_path)
    text = tmp_path / "ranker.txt"
    kept = text.read_text()
    text.write_text("import os\n")
    with pytest.raises(BundleRefused, match="does not start like a LightGBM model"):
        Ranker.open(tmp_path)
    text.write_text(kept[: len(kept) // 2])
    with pytest.raises(BundleRefused):
        Ranker.open(tmp_path)
    text.write_text(kept)
    changed(text, "split_feature=1", "split_feature=9")
    with pytest.raises(BundleRefused, match="uses an unknown feature"):
        Ranker.open(tmp_path)
    text.unlink()
    with pytest.raises(BundleCorrupt, match="cannot be read"):
        Ranker.open(tmp_path)


def test_a_newer_format_and_other_names_are_refused(tmp_path: Path) -> None:
    fitted().write(tmp_path)
    about = tmp_path / "ranker.json"
    changed(about, '"more_noise"', '"other"')
    with pytest.raises(BundleCorrupt, match="name different features"):
        Ranker.open(tmp_path)
    changed(about, '"format": 1', '"format": 2')
    with pytest.raises(FormatTooNew, match="format 2"):
        Ranker.open(tmp_path)


def test_queries_without_both_kinds_of_rows_teach_nothing() -> None:
    features, labels, groups = questions()
    for same in (np.zeros_like(labels), np.ones_like(labels)):
        with pytest.raises(TooLittleData, match="needs queries with an item that was taken and one that was not"):
            fit_ranker(features, same, groups, NAMES)


def test_without_lightgbm_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **more: Any) -> Any:
        if name == "lightgbm":
            raise ModuleNotFoundError(name, name=name)
        return real(name, *given, **more)

    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendMissing, match=r"tidemill\[learn\]"):
        fit_ranker(*questions(), NAMES)


def test_item_features_compare_short_windows_with_long_ones() -> None:
    counts = {7: [1, 0], 30: [2, 0], 90: [2, 4], 365: [2, 4], None: [2, 10]}
    found = item_features(lambda days: np.array(counts[days]), np.array([NOW - 20 * DAY, NOW + DAY]), NOW)
    told = [dict(zip(ITEM_FEATURES, row, strict=True)) for row in found.tolist()]
    assert told[0]["taken_7d"] == 1
    assert told[0]["taken_7d_of_taken_30d"] == pytest.approx(1.5 / 4)
    assert told[1]["taken_365d_of_taken"] == pytest.approx(4.5 / 12)
    assert [row["age_days"] for row in told] == [20, 0]
    assert feature_names({"taste": "vectors"}) == ("taste", "taste_to_best", *ITEM_FEATURES, *HISTORY_FEATURES)


def test_a_walk_of_two_steps_reaches_what_nobody_took_together() -> None:
    told = events([("u", "a", 1), ("u", "b", 2), ("v", "b", 1), ("v", "c", 2)])
    near = learn(Cooccurrence(factors=0), told, NOW).parts["cooccurrence"].lists
    assert near is not None
    a, c = told.items.index("a"), told.items.index("c")
    assert near.matrix()[a, c] == 0
    walked = two_hop_weights(near.matrix())
    assert walked[a, c] == pytest.approx(0.5, abs=1e-4)
    far = learn(Cooccurrence(factors=0, hops=2), told, NOW).parts["cooccurrence"].lists
    assert far is not None
    assert far.matrix()[a, c] > 0


def pairs_world() -> Interactions:
    """Items come in pairs, new ones each day: everybody who takes one of a pair takes its other next, among noise."""
    random, rows = np.random.default_rng(0), []
    for user in range(400):
        day = 1 + user * 98 / 400
        for step, pair in enumerate(random.choice(20, 3, replace=False)):
            rows += [
                (f"u{user:03}", f"i{pair:02}a", day + step * 0.1),
                (f"u{user:03}", f"i{pair:02}b", day + step * 0.1 + 0.05),
            ]
    return events(rows)


MEMBERS = {
    "near": Cooccurrence(factors=0, backward=0.0, recency="1 day"),
    "again": Cooccurrence(factors=0, backward=0.0, recency="1 day", last_day=True),
    "knn": ItemKnn(factors=0, shrinkage=1.0),
}


def blended() -> tuple[Blend, Interactions, Recommender]:
    spec, told = blend(members=MEMBERS, trees=20, min_leaf=20), pairs_world()
    return spec, told, learn(spec, told, NOW)


def test_a_blend_finds_the_other_one_of_the_pair_and_answers_alike_when_opened(tmp_path: Path) -> None:
    _, told, made = blended()
    write_recommender(made, tmp_path)
    rules = RuleSet(retrieve=(nearest(40),), filter=(unseen(),), fallback=popular(days=30))
    engines = [SlateEngine(one, rules, facts_of(one, told)) for one in (made, open_recommender(tmp_path))]
    right = 0
    for pair in range(20):
        history, times = (
            [f"i{(pair + 7) % 20:02}a", f"i{(pair + 7) % 20:02}b", f"i{pair:02}a"],
            [NOW - 3, NOW - 2, NOW - 1],
        )
        first, again = (engine.answer(history, times, 5, as_of=NOW) for engine in engines)
        assert first == again
        right += first.items[0] == f"i{pair:02}b"
    assert right >= 18


def test_two_parts_with_the_same_lists_share_them() -> None:
    made = blended()[2]
    assert made.parts["near"].lists is made.parts["again"].lists


def test_the_trees_know_the_same_features_as_the_parts() -> None:
    spec, told, made = blended()
    assert made.ranking is not None
    kinds = {name: part.kind for name, part in made.parts.items()}
    assert made.ranking.ranker.features == feature_names(kinds)
    assert np.array_equal(made.ranking.first_seen, first_seen(told))
    assert learn(spec, told, NOW).ranking.ranker.text == made.ranking.ranker.text  # type: ignore[union-attr]


def test_too_few_questions_are_refused_with_what_to_do() -> None:
    with pytest.raises(TooLittleData, match=r"tm\.cooccurrence"):
        learn(blend(members=MEMBERS), events([("u", "a", 1), ("u", "b", 2), ("v", "b", 3), ("v", "c", 4)]), NOW)
