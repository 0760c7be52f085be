"""Progress lines on stderr: one line per step, with its details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Longest text of a step's details.
_LINE = 110


def progress_line(step: str, details: Mapping[str, Any]) -> str:
    """A step and its details, truncated to one line.

    >>> progress_line("evaluate", {"users": 12, "hit_rate": 0.25})
    'evaluate users 12, hit_rate 0.2500'
    """
    text = ", ".join(f"{name} {_short(value)}" for name, value in details.items())
    return f"{step} {text if len(text) < _LINE else text[:_LINE] + '…'}"


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
