"""The verdict of a reproduction, from what was recorded and what came out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.governance.reproduction import (
    TOLERANCE,
    AnswerComparison,
    DifferenceCause,
    LearningResult,
    Reproduction,
    compare_lists,
    compare_numbers,
    judge,
)

BEFORE = LearningResult("a" * 64, 100, "rows")
NUMPY = DifferenceCause(what="environment", says="numpy 1.26.4 was recorded, and 2.4.6 is here")
NEAR = AnswerComparison(50, "predictions", 3e-9, 0)
FAR = AnswerComparison(50, "predictions", 0.25, 7)


def judged(made: LearningResult | None, **more: object) -> Reproduction:
    return judge("run:for_you@3", BEFORE, made, **more)  # type: ignore[arg-type]


def test_the_same_bundle_is_bitwise_whatever_differs_around_it() -> None:
    found = judged(LearningResult("a" * 64, 100, "rows"), differences=[NUMPY])
    assert (found.outcome, found.holds, found.causes, found.differences) == ("bitwise", True, (), (NUMPY,))


def test_other_bytes_with_the_same_answers_are_within_tolerance() -> None:
    found = judged(LearningResult("b" * 64, 100, "rows"), compared=NEAR, differences=[NUMPY])
    assert (found.outcome, found.holds, found.largest, found.answers) == ("tolerance", True, 3e-9, 50)
    assert "50 predictions differ by at most 3.0e-09" in found.says
    equal = judged(LearningResult("b" * 64, 100, "rows"), compared=AnswerComparison(50, "predictions", 0.0, 0))
    assert equal.says.endswith("50 predictions are equal, but the bundle's bytes differ")


def test_rows_that_were_erased_are_owed_to_nobody_else() -> None:
    fewer = LearningResult("b" * 64, 88, "others")
    found = judged(fewer, compared=FAR, erased=True)
    assert (found.outcome, found.holds, found.erased_rows) == ("reduced", True, 12)
    assert found.says.startswith("reduced by 12 erased rows")
    unexplained = judged(fewer, compared=FAR)
    assert (unexplained.outcome, [cause.what for cause in unexplained.causes]) == ("no", ["data"])
    assert "88 rows were read, but the recorded training had 100" in unexplained.says


def test_an_erasure_does_not_excuse_rows_that_are_all_there() -> None:
    assert judged(LearningResult("b" * 64, 100, "rows"), compared=FAR, erased=True).outcome == "no"


def test_every_cause_is_named() -> None:
    found = judged(LearningResult("b" * 64, 100, "others"), compared=FAR, differences=[NUMPY])
    assert [cause.what for cause in found.causes] == ["data", "environment"]
    assert found.says.startswith("not reproduced: the rows have other values")
    assert found.says.endswith("7 of 50 predictions differ, by up to 2.5e-01")


def test_where_nothing_differs_the_learning_itself_does() -> None:
    found = judged(LearningResult("b" * 64, 100, "rows"), compared=FAR)
    assert [cause.what for cause in found.causes] == ["learning"]


def test_what_could_not_be_made_is_no() -> None:
    gone = DifferenceCause(what="data", says="table ratings version 12 is gone")
    found = judged(None, blocked=[gone])
    assert (found.says, found.causes, found.made) == ("not reproduced: table ratings version 12 is gone", (gone,), "")


SCORES = st.lists(st.floats(0.01, 1), min_size=1, max_size=20, unique=True)


@given(SCORES, st.floats(-TOLERANCE / 2, TOLERANCE / 2))
def test_scores_may_move_within_the_tolerance(scores: list[float], by: float) -> None:
    ranked = [(f"i{place}", score) for place, score in enumerate(sorted(scores, reverse=True))]
    moved = sorted(((item, score + by) for item, score in ranked), key=lambda one: -one[1])
    assert compare_lists([ranked], [ranked]).largest == 0
    assert compare_lists([ranked], [moved]).same


@given(SCORES, st.floats(0.001, 0.005))
def test_a_score_that_moves_further_is_another_answer(scores: list[float], by: float) -> None:
    ranked = [(f"i{place}", score) for place, score in enumerate(sorted(scores, reverse=True))]
    moved = [(ranked[0][0], ranked[0][1] + by), *ranked[1:]]
    found = compare_lists([ranked, ranked], [ranked, moved])
    assert (found.others, found.same) == (1, False)
    assert found.largest == pytest.approx(by, rel=1e-3)


def test_items_that_tie_at_the_end_may_change() -> None:
    assert compare_lists([[("a", 0.9), ("b", 0.5)]], [[("a", 0.9), ("c", 0.5)]]).same
    assert not compare_lists([[("a", 0.9), ("b", 0.5)]], [[("c", 0.9), ("b", 0.5)]]).same
    assert not compare_lists([[("a", 0.9), ("b", 0.5)]], [[("a", 0.9)]]).same
    assert not compare_lists([[]], [[("a", 0.9)]]).same
    assert compare_lists([[]], [[]]).same
    assert not compare_lists([], []).same  # where nothing was asked, nothing is known


def test_numbers_that_are_none_are_the_same_only_as_none() -> None:
    none = np.array([np.nan, 0.5])
    assert compare_numbers(none, none).same
    found = compare_numbers(none, np.array([0.5, 0.5]))
    assert (found.others, found.largest, found.by) == (1, None, "an unbounded difference")
    assert compare_numbers(np.array([2e6]), np.array([2e6 + 1])).same
    assert not compare_numbers(np.zeros(3), np.zeros(4)).same
    assert compare_numbers(np.zeros((3, 2)), np.array([[0, 0], [0, 0.5], [0, 0]])).others == 1
