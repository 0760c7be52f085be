from __future__ import annotations

import pytest

from tidemill.serving.http.etag import etag, matches


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"x"', True),
        ('W/"x"', True),
        ('"a", "x"', True),
        ("*", True),
        ('"y"', False),
        ("x", False),
        ("", False),
        (None, False),
    ],
)
def test_if_none_match(header: str | None, expected: bool) -> None:
    assert matches(header, "x") is expected


def test_a_tag_matches_itself() -> None:
    assert matches(etag("x"), "x") and not matches(etag("x"), "y")
