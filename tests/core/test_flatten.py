"""Settings within settings as one level: nothing is lost, and no path stands for two."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.flatten import flatten

NAMES = st.text("abc", min_size=1, max_size=3)
NESTED = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2), lambda inner: st.dictionaries(NAMES, inner, max_size=3)
)


@given(st.dictionaries(NAMES, NESTED, max_size=4))
def test_every_value_is_there_by_its_path(values: dict[str, Any]) -> None:
    found = flatten(values)
    for path, value in found.items():
        inside: Any = values
        for name in path.split("."):
            inside = inside[name]
        assert inside == value
        assert value == {} or not isinstance(value, dict)
    assert len(found) == _leaves(values)
    assert flatten(values, "data.") == {f"data.{path}": value for path, value in found.items()}


def _leaves(value: Any) -> int:
    return sum(_leaves(one) if isinstance(one, dict) and one else 1 for one in value.values())
