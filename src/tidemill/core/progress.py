"""Progress of long work: one callable that is told what happens, and one that says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Told what happens while it happens: `(what, details)`.
Progress = Callable[[str, dict[str, Any]], None]


def no_progress(what: str, details: dict[str, Any]) -> None:
    """A teller that says nothing."""
