"""The trace id of a `traceparent` header, by the rules of W3C Trace Context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.serving.http.trace_context import trace_id

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("header", [f"00-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-00-what comes later"])
def test_a_valid_header_gives_its_trace_id(header: str) -> None:
    assert trace_id(header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None, "", "x", f"00-{TRACE}-{PARENT}", f"00-{TRACE}-{PARENT}-01-more", f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01\n", f" 00-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01more",
    ],
)  # fmt: skip
def test_another_header_gives_none(header: str | None) -> None:
    assert trace_id(header) == ""


@given(st.text())
def test_whatever_comes_is_32_hex_digits_or_nothing(header: str) -> None:
    assert len(trace_id(header)) in (0, 32)
