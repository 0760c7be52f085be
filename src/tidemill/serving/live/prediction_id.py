"""One name for one answer: derived from all that the answer depends on, so that asking again is the same prediction.

The id covers the release, the switch, the subject's state, the facts, the parameters and the validity slot. Equal ids
mean equal bytes of answer: that makes the id a strong ETag (RFC 9110, 8.8.3).
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def prediction_id(*parts: object) -> str:
    """128 bits in hex over the parts, in their order; what differs in any part, or in its type, differs in the id.

    >>> prediction_id("for_you@3", "on", 1) == prediction_id("for_you@3", "on", 1)
    True
    >>> prediction_id("a", "bc") == prediction_id("ab", "c")
    False
    """
    return blake2b(_encode(parts), digest_size=16).hexdigest()


def etag(name: str) -> str:
    """The strong entity tag of an answer."""
    return f'"{name}"'


def matches(if_none_match: str | None, name: str) -> bool:
    """Whether an `If-None-Match` header names this answer (weak comparison, RFC 9110, 13.1.2).

    `*` asks whether there is any answer at all; there always is one.
    """
    if not if_none_match:
        return False
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in ("*", f'"{name}"') for tag in tags)
