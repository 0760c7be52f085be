from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.serving.live.prediction_id import prediction_id

parts = st.lists(
    st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2), max_size=4
)
PAIRS = [
    (["a", "bc"], ["ab", "c"]),
    ([["a"], []], [[], ["a"]]),
    ([1], ["1"]),
    ([None], [""]),
    ([["a", "b"]], ["a", "b"]),
]


@given(parts, parts)
def test_ids_are_equal_exactly_where_the_parts_are(one: list[object], other: list[object]) -> None:
    assert (prediction_id(*one) == prediction_id(*other)) == (one == other)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_parts_do_not_run_into_each_other(one: list[object], other: list[object]) -> None:
    assert prediction_id(*one) != prediction_id(*other)


@pytest.mark.parametrize(
    "wrong", [lambda *p: "".join(map(str, p)), lambda *p: "|".join(map(str, p)) if len(p) > 9 else str(p[0])]
)
def test_a_joined_string_is_caught(wrong: Callable[..., str]) -> None:
    assert any(wrong(*one) == wrong(*other) for one, other in PAIRS)


def test_the_order_of_keys_does_not_count() -> None:
    assert prediction_id({"a": 1, "b": 2}) == prediction_id({"b": 2, "a": 1})
