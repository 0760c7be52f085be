"""Where are the rows kept, and which of them are true? Tables that change by whole publications: staged unseen,
checked, then named all at once. Held or refused rows lie beside them, and every version can be read and verified.

Upstream is `core` alone. Rows come from `loop`, which takes them from `sources`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.lake.changes import changed_keys
    from tidemill.lake.draft import Changed, Draft, Merged
    from tidemill.lake.held import Held
    from tidemill.lake.lake import Lake
    from tidemill.lake.publications import IncrementState
    from tidemill.lake.view import View

_HOMES = {
    "Changed": "draft",
    "Draft": "draft",
    "Held": "held",
    "IncrementState": "publications",
    "Lake": "lake",
    "Merged": "draft",
    "View": "view",
    "changed_keys": "changes",
}
__all__ = ["Changed", "Draft", "Held", "IncrementState", "Lake", "Merged", "View", "changed_keys"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
