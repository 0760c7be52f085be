"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from tidemill.core.duration import duration
from tidemill.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 second", 1),
        ("90 minutes", 5_400),
        ("1.5 hours", 5_400),
        ("10 days", 864_000),
        ("2 weeks", 1_209_600),
        ("7days", 604_800),
    ],
)
def test_units(text: str, seconds: int) -> None:
    assert duration(text) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "10", "days", "-1 days", "10 months", "1 day 2 hours", "1e3 days", "ten days"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a valid duration"):
        duration(text)


def test_a_duration_of_more_than_a_century_is_refused() -> None:
    assert duration("36500 days") == 36_500 * 86_400 * 1_000_000
    with pytest.raises(UsageError, match="too long"):
        duration("99999999999999999 days")
