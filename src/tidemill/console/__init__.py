"""What is live, what needs me, and why: pages for people over the ledger, the lake and the files of the server.

Upstream: every room, through what it left in the ledger. Nothing is decided here; each page ends in a command to copy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.console.app import create_app
    from tidemill.console.house import House
    from tidemill.console.loop import LoopPage, loop_page
    from tidemill.console.model import ModelPage, model_page

__all__ = ["House", "LoopPage", "ModelPage", "create_app", "loop_page", "model_page"]

_HOMES = {
    "House": "house",
    "LoopPage": "loop",
    "ModelPage": "model",
    "create_app": "app",
    "loop_page": "loop",
    "model_page": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
