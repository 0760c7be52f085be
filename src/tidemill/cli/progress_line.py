"""What goes on, one line a step, as it is told on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: How much of a step's details is shown.
_LINE = 110


def progress_line(what: str, details: Mapping[str, Any]) -> str:
    """A step and its figures, cut to a line.

    >>> progress_line("evaluate", {"users": 12, "hit_rate": 0.25})
    'evaluate users 12, hit_rate 0.2500'
    """
    said = ", ".join(f"{name} {_short(value)}" for name, value in details.items())
    return f"{what} {said if len(said) < _LINE else said[:_LINE] + '…'}"


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
