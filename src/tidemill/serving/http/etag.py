"""ETag of a response and the `If-None-Match` of a request (RFC 9110, 8.8.3 and 13.1.2).

A prediction id is a hash of everything that its response depends on, so the id is a strong entity tag.
"""

from __future__ import annotations


def etag(prediction_id: str) -> str:
    """The strong entity tag of a response.

    >>> etag("8d4f")
    '"8d4f"'
    """
    return f'"{prediction_id}"'


def matches(if_none_match: str | None, prediction_id: str) -> bool:
    """Whether an `If-None-Match` header contains the tag of this response, by weak comparison.

    `*` matches every response.
    """
    if not if_none_match:
        return False
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in ("*", etag(prediction_id)) for tag in tags)
