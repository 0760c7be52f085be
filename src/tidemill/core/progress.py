"""Progress of long work: one callable that receives each message, and one that ignores them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Told what happens while it happens: `(what, details)`.
Progress = Callable[[str, dict[str, Any]], None]


def no_progress(what: str, details: dict[str, Any]) -> None:
    """A teller that says nothing."""
