"""Laws of answering, over the same predictor that the server uses; each catches a deliberately wrong variant."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from served_shop import ITEMS, MODEL, OUT_OF_STOCK, Review, Shop

from tidemill.core.clock import SystemClock
from tidemill.core.records.posted_event import PostedEvent, SealedSubject
from tidemill.models import open_recommender
from tidemill.release import open_arm, read_deployment
from tidemill.serving import (
    Predictor,
    PredictorSources,
    RecentEvents,
    RecommendationRequest,
    ServerClock,
    UserHistories,
)

NOW = 1_780_272_000_000_000
USERS = [f"user{i}@example.org" for i in range(80)]


@dataclass(frozen=True)
class Case:
    """What is asked of whom, and what that person has done meanwhile."""

    user: str
    n: int
    exclude: tuple[str, ...]
    candidates: tuple[str, ...] | None
    #: Everything but this many items is posted as seen before the question; `None` posts nothing.
    leave: int | None
    off: bool


ids = st.sampled_from([*ITEMS, "unknown item"])
cases = st.builds(
    Case,
    user=st.sampled_from([*USERS[:10], "stranger"]),
    n=st.sampled_from([1, 2, 3, 10, 20, 59, 60, 61, 500]),
    exclude=st.lists(ids, max_size=8).map(tuple),
    candidates=st.none() | st.lists(ids, max_size=12).map(lambda drawn: tuple(drawn + drawn[:3])),
    leave=st.none() | st.integers(0, 5),
    off=st.booleans(),
)
Answering = Callable[[Predictor, Case, str], Sequence[str]]


class Bench:
    """A predictor over the shop's real stores, and a fresh person for each case."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        live = read_deployment(shop.root, MODEL, shop.stores.keys.public)
        assert live is not None
        pointer = open_arm(live, live.champion, shop.stores.blobs)
        latest = shop.stores.latest
        clock = ServerClock(SystemClock(), shop.root)
        histories = UserHistories(latest, MODEL, lambda: ["reviews"])
        recommender = open_recommender(Path(pointer.bundle), shop.stores.search())
        self.predictor = Predictor(pointer, recommender, {}, PredictorSources(latest, histories, clock, 3600))
        self.recent = RecentEvents(latest, "reviews", Review.contract, [MODEL])
        self.people = 0

    def post(self, token: str, items: Sequence[str]) -> None:
        self.recent.add(
            [
                PostedEvent(
                    received_at=NOW + i,
                    row={"item_id": item, "rating": 5.0, "reviewed_at": NOW + i},
                    people={"user_id": SealedSubject(token, b"sealed")},
                )
                for i, item in enumerate(items)
            ]
        )

    def person(self, case: Case) -> tuple[str, set[str]]:
        """Somebody with the published history of `case.user`, or a stranger who posts; and what they saw."""
        if case.leave is None:
            return self.shop.token(case.user), self.shop.seen(case.user)
        self.people += 1
        token = self.shop.token(f"person {self.people}")
        seen = random.Random(self.people).sample(ITEMS, len(ITEMS) - case.leave)
        self.post(token, seen)
        return token, set(seen)


@pytest.fixture(scope="module")
def bench(shop: Shop) -> Bench:
    return Bench(shop)


def answering(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    asked = RecommendationRequest(token, case.n, case.exclude, case.candidates)
    return [one.item for one in predictor.answer(predictor.prepare(asked, off=case.off)).items]


def holds(bench: Bench, case: Case, answer: Answering) -> None:
    """Exactly min(n, eligible unseen) items, none seen, none excluded, none twice, all from the candidates."""
    token, seen = bench.person(case)
    shown = list(answer(bench.predictor, case, token))
    allowed = set(ITEMS) - OUT_OF_STOCK - seen - set(case.exclude)
    if case.candidates is not None:
        allowed &= set(case.candidates)
    assert len(shown) == len(set(shown)), "an item is shown twice"
    assert set(shown) <= allowed, "an item is shown that may not be"
    assert len(shown) == min(case.n, len(allowed)), "the answer is shorter or longer than it may be"


lawful = settings(max_examples=60, derandomize=True)


@lawful
@given(case=cases)
def test_an_answer_is_exactly_what_may_be_shown(bench: Bench, case: Case) -> None:
    holds(bench, case, answering)


def cut_before_seen(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    """Wrong: takes the top n and drops seen items afterwards, so answers come back short."""
    wide = Case(case.user, case.n, case.exclude, case.candidates, case.leave, case.off)
    history = set(predictor.prepare(RecommendationRequest(token, 1)).history.items)
    unfiltered = answering(predictor, wide, "b" * 26)[: case.n]
    return [item for item in unfiltered if item not in history]


def shows_seen(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    """Wrong: answers everybody as a stranger."""
    return answering(predictor, case, "b" * 26)


def repeats_candidates(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    """Wrong: answers the candidates as they were given, duplicates and all."""
    found = answering(predictor, case, token)
    if case.candidates is None:
        return found
    return [item for item in case.candidates if item in found][: case.n]


def ignores_exclusions(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    """Wrong: drops what the caller excluded from the question."""
    return answering(predictor, Case(case.user, case.n, (), case.candidates, case.leave, case.off), token)


def pads(predictor: Predictor, case: Case, token: str) -> Sequence[str]:
    """Wrong: fills up to n from the catalogue, whatever may be shown."""
    found = list(answering(predictor, case, token))
    return found + [item for item in ITEMS if item not in found][: max(0, case.n - len(found))]


@pytest.mark.parametrize("wrong", [cut_before_seen, shows_seen, repeats_candidates, ignores_exclusions, pads])
def test_the_law_catches(bench: Bench, wrong: Answering) -> None:
    @settings(lawful, phases=[Phase.generate])
    @given(case=cases)
    def law(case: Case) -> None:
        holds(bench, case, wrong)

    with pytest.raises(AssertionError):
        law()


@lawful
@given(case=cases)
def test_the_same_question_has_the_same_id_and_answer(bench: Bench, case: Case) -> None:
    token, _ = bench.person(case)
    asked = RecommendationRequest(token, case.n, case.exclude, case.candidates)
    first, second = (bench.predictor.prepare(asked, off=case.off) for _ in range(2))
    assert first.prediction_id == second.prediction_id
    assert bench.predictor.answer(first) == bench.predictor.answer(second)


def different(bench: Bench, name: Callable[[RecommendationRequest, bool], str]) -> None:
    """Whatever changes the answer changes the id."""
    token = bench.shop.token("somebody for ids")
    asked = [
        (RecommendationRequest(token, 5), False),
        (RecommendationRequest(token, 6), False),
        (RecommendationRequest(token, 5, ["item01"]), False),
        (RecommendationRequest(token, 5, candidates=["item01"]), False),
        (RecommendationRequest(token, 5, context={"page": "home"}), False),
        (RecommendationRequest(token, 5), True),
        (RecommendationRequest("b" * 26, 5), False),
    ]
    names = [name(*question) for question in asked]
    bench.post(token, ["item20"])
    names.append(name(*asked[0]))
    assert len(set(names)) == len(names)


def test_ids_differ_where_answers_may(bench: Bench) -> None:
    different(bench, lambda asked, off: bench.predictor.prepare(asked, off=off).prediction_id)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda asked, off: (
            f"{asked.subject}{asked.n}{list(asked.exclude)}{asked.candidates}{asked.context}{off}"
        ),  # no state
        lambda asked, off: f"{asked.subject}{asked.n}{off}",  # no parameters
    ],
)
def test_the_law_of_ids_catches(bench: Bench, wrong: Callable[[RecommendationRequest, bool], str]) -> None:
    with pytest.raises(AssertionError):
        different(bench, wrong)


def heeded_between(bench: Bench, answer: Callable[[str], Sequence[str]]) -> None:
    """An event posted between preparing and answering, or just before, is never shown in the next answer."""
    bench.people += 1
    token = bench.shop.token(f"person {bench.people}")
    for _ in range(5):
        shown = answer(token)
        bench.post(token, shown[:2])
        assert not set(answer(token)) & set(shown[:2])


def test_what_was_just_posted_is_not_shown(bench: Bench) -> None:
    def ask(token: str) -> Sequence[str]:
        return [
            one.item for one in bench.predictor.answer(bench.predictor.prepare(RecommendationRequest(token, 5))).items
        ]

    heeded_between(bench, ask)


def test_a_server_that_remembers_histories_is_caught(bench: Bench) -> None:
    remembered: dict[str, Sequence[str]] = {}

    def ask(token: str) -> Sequence[str]:
        prepared = bench.predictor.prepare(RecommendationRequest(token, 5))
        return remembered.setdefault(token, [one.item for one in bench.predictor.answer(prepared).items])

    with pytest.raises(AssertionError):
        heeded_between(bench, ask)
