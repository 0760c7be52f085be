"""Core: references, time, contracts, records, errors, settings, the ledger and the ports, shared by all components.

It imports no other component and no storage technology: back-ends implement the ports, and `loop` opens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.core.clock import Clock as Clock
    from tidemill.core.clock import FixedClock as FixedClock
    from tidemill.core.clock import SystemClock as SystemClock
    from tidemill.core.contract.contract import Contract as Contract
    from tidemill.core.contract.contract import Event as Event
    from tidemill.core.errors import TidemillError as TidemillError
    from tidemill.core.identity.keys import Keys as Keys
    from tidemill.core.identity.refs import Ref as Ref
    from tidemill.core.identity.refs import parse_ref as parse_ref
    from tidemill.core.identity.surrogates import Surrogates as Surrogates
    from tidemill.core.identity.surrogates import Vault as Vault
    from tidemill.core.ledger.ledger import Ledger as Ledger
    from tidemill.core.ledger.ledger_entry import LedgerEntry as LedgerEntry
    from tidemill.core.ledger.ledger_entry import LedgerHead as LedgerHead
    from tidemill.core.settings import Settings as Settings
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clock": "Clock FixedClock SystemClock",
            "contract.contract": "Contract Event",
            "errors": "TidemillError",
            "identity.keys": "Keys",
            "identity.refs": "Ref parse_ref",
            "identity.surrogates": "Surrogates Vault",
            "ledger.ledger": "Ledger",
            "ledger.ledger_entry": "LedgerEntry LedgerHead",
            "settings": "Settings",
        },
    )
