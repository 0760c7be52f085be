"""Flattening of nested settings to one level with dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(given: Mapping[str, Any], before: str = "", *, empty: bool = True) -> dict[str, Any]:
    """Every value by its dotted path, in order; `before` is a prefix of each path.

    An empty mapping is kept as a value, or omitted if `empty` is false.

    >>> flatten({"factors": 64, "parts": {"ease": {"l2": 5}, "als": {}}})
    {'factors': 64, 'parts.ease.l2': 5, 'parts.als': {}}
    >>> flatten({"serve": {"port": 1}, "sources": {}}, empty=False)
    {'serve.port': 1}
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{before}{name}.", empty=empty)
        elif empty or not isinstance(value, Mapping):
            found[f"{before}{name}"] = value
    return found
