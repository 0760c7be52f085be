"""The slate, declared and at work: what is refused before anything runs, and what each rule does."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from known_worlds import DAY, NOW, checkerboard, events, facts_of

from tidemill import models
from tidemill.core.errors import IdsMismatch, SlateMismatch, TypeMismatch
from tidemill.core.records.release import Rule, RuleSet
from tidemill.models import EventFacts, SlateEngine
from tidemill.models.slates.slate_engine import _spread

PLAIN = {"retrieve": [models.nearest(50)], "filter": [models.unseen()]}


def engine(rules: RuleSet | None = None, *, told=None, spec=None, **about) -> SlateEngine:
    told = told or checkerboard()
    recommender = models.learn(spec or models.cooccurrence(factors=2), told, NOW)
    rules = rules or models.slate(**PLAIN).rules({})
    return SlateEngine(recommender, rules, facts_of(recommender, told, **about))


def test_a_slate_becomes_data_with_its_facts_resolved() -> None:
    spec = models.slate(
        retrieve=[models.nearest(200), models.trending(days=7)],
        filter=[models.unseen(), models.eligible("in_stock", missing=True)],
        order=[models.diverse(by="category")],
        fallback=models.popular(days=30),
    )
    rules = spec.rules({"facts": ["category", "in_stock"], "taste": ["mean_rating"]})
    assert rules.filter[1] == Rule(name="eligible", args={"column": "in_stock", "missing": True, "view": "facts"})
    assert spec.facts({"facts": ["category", "in_stock"]}) == {"facts": ("category", "in_stock")}
    assert msgspec.json.decode(msgspec.json.encode(rules), type=RuleSet) == rules
    assert spec.modules() == {}


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"retrieve": []}, "no retrieval rule"),
        ({"retrieve": [models.unseen()]}, "filter="),
        ({"retrieve": [models.nearest()], "filter": [models.diverse(by="x")]}, "order="),
        ({"retrieve": [models.nearest()], "order": [len]}, "built-in rules only"),
        ({"retrieve": [models.nearest()], "fallback": models.nearest()}, "retrieve="),
    ],
)
def test_a_rule_in_the_wrong_place_is_refused(about, says) -> None:
    with pytest.raises(SlateMismatch, match=says):
        models.slate(**about)


@pytest.mark.parametrize(
    "make", [lambda: models.nearest(0), lambda: models.trending(days=1.5), lambda: models.diverse("x", strength=0)]
)
def test_nonsense_arguments_are_refused(make) -> None:
    with pytest.raises(TypeMismatch):
        make()


def test_a_fact_that_no_view_or_two_views_have_is_refused() -> None:
    spec = models.slate(retrieve=[models.nearest()], filter=[models.eligible("in_stok")])
    with pytest.raises(SlateMismatch, match="did you mean `in_stock`"):
        spec.rules({"facts": ["in_stock"]})
    with pytest.raises(SlateMismatch, match="which several views have"):
        spec.rules({"one": ["in_stok"], "two": ["in_stok"]})


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        (models.nearest(), {"popularity"}),
        (models.nearest(by="spectral"), {"popularity", "cooccurrence"}),
        (models.nearest(by="item_knn"), {"popularity", "cooccurrence", "spectral"}),
    ],
)
def test_candidates_that_the_bundle_will_lack_are_refused_before_learning(rule, parts) -> None:
    with pytest.raises(SlateMismatch, match="nearest"):
        models.slate(retrieve=[rule]).check(parts)
    models.slate(retrieve=[models.trending()]).check(parts)


def test_a_bundle_without_parts_answers_by_the_other_rules() -> None:
    at_work = engine(RuleSet(retrieve=(models.nearest(),), filter=(models.unseen(),)), spec=models.popularity())
    found = at_work.answer(["i00"], [1], 3)  # what `auto` leaves where nothing beats popularity
    assert len(found) == 3
    assert "i00" not in found.items
    with pytest.raises(SlateMismatch, match=r"nearest\(by='spectral'\)"):
        engine(RuleSet(retrieve=(models.nearest(by="spectral"),)), spec=models.popularity())


def test_reasons_say_where_an_item_came_from() -> None:
    told = events(
        [("u", "a", 1), ("u", "b", 2), ("v", "hot", 97), ("w", "hot", 98), ("x", "warm", 80), ("y", "old", 3)]
    )
    spec = models.slate(retrieve=[models.nearest(5), models.trending(days=7)], filter=[models.unseen()])
    found = engine(spec.rules({}), told=told, spec=models.cooccurrence(factors=0), more=["unborn"]).answer(
        ["a"], [1], 9
    )
    reasons = dict(zip(found.items, found.reasons, strict=True))
    assert reasons == {
        "b": "goes with a",
        "hot": "trending over 7 days",
        "warm": "popular over 30 days",
        "old": "popular of all time",
        "unborn": "next in the catalogue",
    }
    assert found.short == "of 6 items 6 are eligible, 5 of them neither seen nor excluded"


def test_vectors_alone_name_the_item_that_gave_most() -> None:
    found = engine(spec=models.spectral(factors=2)).answer(["i00", "i02"], [1, 2], 3)
    assert found.reasons == ["goes with i02"] * 3  # the newest counts most
    assert all(int(item[1:]) % 2 == 0 for item in found.items)


def test_a_chain_ends_in_all_time_popularity_and_then_a_fixed_order() -> None:
    told = events([("u", "old", 1), ("v", "old", 2), ("u", "older", 1), ("v", "new", 95), ("w", "aged", 3)])
    found = engine(models.slate(retrieve=[models.trending(1)]).rules({}), told=told, more=["z", "y"]).answer([], [], 9)
    assert found.items == ["new", "old", "aged", "older", "z", "y"]


def test_without_live_counts_the_bundle_knows_what_was_popular() -> None:
    told = events([("u", "b", 90), ("v", "b", 91), ("u", "a", 92)])
    recommender = models.learn(models.popularity(), told, NOW)
    rules = models.slate(retrieve=[models.popular()]).rules({})
    found = SlateEngine(recommender, rules, EventFacts(recommender.items, as_of=NOW)).answer([], [], 2)
    assert found.items == ["b", "a"]


def test_candidates_are_ranked_by_the_models_score() -> None:
    asked = ["i01", "i04", "i06", "i04", "nothing", "i03"]
    found = engine().answer(["i00", "i02"], [1, 2], 3, candidates=asked)
    assert set(found.items[:2]) == {"i04", "i06"}
    assert found.scores == sorted(found.scores, reverse=True)
    more = engine().answer(["i00", "i02"], [1, 2], 9, candidates=asked)
    assert len(more) == 4
    assert more.short == "4 of the 4 candidates in the catalogue may be shown"


def test_what_was_seen_comes_back_where_the_slate_does_not_say_unseen() -> None:
    rules = models.slate(retrieve=[models.nearest(50)]).rules({})
    assert "i00" in engine(rules).answer(["i00", "i02"], [1, 2], 12).items
    assert "i00" not in engine(rules).answer(["i00", "i02"], [1, 2], 12, exclude=["i00"]).items
    assert "i00" not in engine().answer(["i00", "i02"], [1, 2], 12).items


def test_facts_that_move_are_seen_by_the_next_answer() -> None:
    told = checkerboard()
    stock = np.ones(12, np.bool_)
    columns = {("facts", "in_stock"): (stock, np.ones(12, np.bool_))}
    recommender = models.learn(models.cooccurrence(factors=2), told, NOW)
    facts = facts_of(recommender, told, columns=columns)
    spec = models.slate(retrieve=[models.nearest(50)], filter=[models.unseen(), models.eligible("in_stock")])
    at_work = SlateEngine(recommender, spec.rules({"facts": ["in_stock"]}), facts)
    before = at_work.answer(["i00"], [1], 5).items
    stock[int(before[0][1:])] = False
    assert at_work.answer(["i00"], [1], 5).items == before  # the version says that nothing moved
    facts.version = "2"
    assert before[0] not in at_work.answer(["i00"], [1], 5).items


def test_a_catalogue_in_another_order_is_refused() -> None:
    told = checkerboard()
    recommender = models.learn(models.cooccurrence(factors=2), told, NOW)
    turned = EventFacts(list(recommender.items)[::-1], as_of=NOW)
    with pytest.raises(IdsMismatch):
        SlateEngine(recommender, models.slate(**PLAIN).rules({}), turned)


def greedy(scores: np.ndarray, groups: np.ndarray, strength: float) -> list[int]:
    """What `diverse` promises, step by step."""
    left, taken, order = set(range(len(scores))), {}, []
    while left:
        best = max(
            left,
            key=lambda i: (
                np.float32(scores[i] * np.float32(strength) ** (taken.get(groups[i], 0) if groups[i] >= 0 else 0)),
                -i,
            ),
        )
        order.append(best)
        taken[groups[best]] = taken.get(groups[best], 0) + 1
        left.discard(best)
    return order


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(1, 1000), unique=True),
    st.data(),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
def test_diverse_is_greedy_reranking(numbers, data, strength) -> None:
    scores = np.sort(numbers)[::-1].astype(np.float32)
    groups = data.draw(hnp.arrays(np.int32, len(scores), elements=st.integers(-1, 3)))
    one, other = _spread(scores, groups, strength), greedy(scores, groups, strength)
    penalised = [score_of(scores, groups, strength, list(order)) for order in (one, other)]
    assert np.allclose(*penalised, rtol=1e-5)
    assert sorted(one.tolist()) == list(range(len(scores)))


def score_of(scores: np.ndarray, groups: np.ndarray, strength: float, order: list[int]) -> list[float]:
    """The penalised score of each place of a list."""
    taken: dict[int, int] = {}
    found = []
    for i in order:
        times = taken.get(int(groups[i]), 0) if groups[i] >= 0 else 0
        found.append(float(scores[i]) * strength**times)
        taken[int(groups[i])] = taken.get(int(groups[i]), 0) + 1
    return found


def test_one_group_is_spread_and_missing_facts_are_not_penalised() -> None:
    scores = np.array([1.0, 0.9, 0.8, 0.7], np.float32)
    assert _spread(scores, np.array([0, 0, 0, 1], np.int32), 0.5).tolist() == [0, 3, 1, 2]
    assert _spread(scores, np.array([-1, -1, -1, -1], np.int32), 0.5).tolist() == [0, 1, 2, 3]


def test_the_newest_event_leads_by_days() -> None:
    """The unit of times is microseconds: a day's difference moves the weights, a microsecond's does not."""
    told = events([("u", "a", 1), ("u", "b", 2), ("v", "c", 1), ("v", "d", 2)])
    at_work = engine(told=told, spec=models.cooccurrence(factors=0, recency="1 day"))
    assert at_work.answer(["a", "c"], [0, 30 * DAY], 1).items == ["d"]
    assert at_work.answer(["c", "a"], [0, 30 * DAY], 1).items == ["b"]
