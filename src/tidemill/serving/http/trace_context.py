"""Trace context: the trace id of a request's `traceparent` header.

Standard: W3C Trace Context, 3.2 (`version-traceid-parentid-flags`, lower-case hex). Invalid headers are ignored.
"""

from __future__ import annotations

import re

#: Version 00 has exactly four parts; later versions may have more after the flags. Version ff is forbidden.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z")


def trace_id(header: str | None) -> str:
    """The trace id, 32 hex digits; empty where the header is missing or not valid.

    >>> trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    >>> trace_id("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
    ''
    """
    if not header:
        return ""
    matched = _TRACEPARENT.match(header)
    if matched is None or (header.startswith("00") and matched[3]):
        return ""
    return matched[1] if matched[1].strip("0") and matched[2].strip("0") else ""
