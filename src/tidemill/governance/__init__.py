"""What can people rely on, and what is owed to them? Audit of the ledger, and the search for identifiers that leaked.

Upstream is everything: this room reads the ledger and every store, and changes none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.governance.audit import verify
    from tidemill.governance.leaks import Leak, scan

__all__ = ["Leak", "scan", "verify"]

_HOMES = {"Leak": "leaks", "scan": "leaks", "verify": "audit"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
