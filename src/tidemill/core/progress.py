"""Progress callbacks of long operations: the callback type, and a callback that ignores all messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Called with `(event, details)` at each step.
Progress = Callable[[str, dict[str, Any]], None]


def no_progress(what: str, details: dict[str, Any]) -> None:
    """Ignore the message."""
