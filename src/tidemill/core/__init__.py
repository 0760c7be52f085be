"""What words do all rooms speak? Refs, time, contracts, records, errors, settings, the ledger and the ports.

No room is upstream of this one, and no technology is in it: a back-end fills each port, and `loop` opens them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.core.clock import Clock, FixedClock, SystemClock
    from tidemill.core.errors import TidemillError
    from tidemill.core.keys import Keys
    from tidemill.core.lease import FileLeases
    from tidemill.core.ledger import Head, Ledger, Line
    from tidemill.core.refs import Ref, parse_ref
    from tidemill.core.schema import Contract, Event
    from tidemill.core.settings import Settings
    from tidemill.core.subjects import Surrogates, Vault

__all__ = [
    "Clock",
    "Contract",
    "Event",
    "FileLeases",
    "FixedClock",
    "Head",
    "Keys",
    "Ledger",
    "Line",
    "Ref",
    "Settings",
    "Surrogates",
    "SystemClock",
    "TidemillError",
    "Vault",
    "parse_ref",
]

_HOMES = {
    "Clock": "clock",
    "Contract": "schema",
    "Event": "schema",
    "FileLeases": "lease",
    "FixedClock": "clock",
    "Head": "ledger",
    "Keys": "keys",
    "Ledger": "ledger",
    "Line": "ledger",
    "Ref": "refs",
    "Settings": "settings",
    "Surrogates": "subjects",
    "SystemClock": "clock",
    "TidemillError": "errors",
    "Vault": "subjects",
    "parse_ref": "refs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
