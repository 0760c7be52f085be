from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.canonical import canonical, fingerprint

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: object) -> object:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_one_value_has_one_spelling_and_can_be_read_back(value: object) -> None:
    assert json.loads(canonical(value)) == value
    assert canonical(json.loads(canonical(value))) == canonical(value)
    assert canonical(shuffled(value)) == canonical(value)


def test_the_order_of_keys_matters_to_an_encoder_that_does_not_sort() -> None:
    first, second = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert json.dumps(first) != json.dumps(second)  # the wrong variant
    assert fingerprint(first) == fingerprint(second)


@given(VALUES, VALUES)
def test_different_values_have_different_bytes(first: object, second: object) -> None:
    assert (canonical(first) == canonical(second)) == (_typed(first) == _typed(second))


def _typed(value: object) -> object:
    """Equality that tells `True` from `1`, as JSON does."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (1.0, "value is a float"),
        ({"a": [1, {"b": 0.5}]}, r"value\.a\[1\]\.b is a float"),
        ({1: 2}, "the key 1"),
        (b"x", "value is a bytes"),
        (datetime(2018, 1, 1, tzinfo=UTC), "value is a datetime"),
        ({"a"}, "value is a set"),
    ],
)
def test_what_two_stores_might_spell_differently_is_refused(value: object, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        canonical(value)
