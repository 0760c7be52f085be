"""What words do all rooms speak? Refs, time, contracts, records, errors, settings, the ledger and the ports.

No room is upstream of this one, and no technology is in it: a back-end fills each port, and `loop` opens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.core.clock import Clock as Clock
    from tidemill.core.clock import FixedClock as FixedClock
    from tidemill.core.clock import SystemClock as SystemClock
    from tidemill.core.errors import TidemillError as TidemillError
    from tidemill.core.keys import Keys as Keys
    from tidemill.core.ledger import Head as Head
    from tidemill.core.ledger import Ledger as Ledger
    from tidemill.core.ledger import Line as Line
    from tidemill.core.refs import Ref as Ref
    from tidemill.core.refs import parse_ref as parse_ref
    from tidemill.core.schema import Contract as Contract
    from tidemill.core.schema import Event as Event
    from tidemill.core.settings import Settings as Settings
    from tidemill.core.subjects import Surrogates as Surrogates
    from tidemill.core.subjects import Vault as Vault
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clock": "Clock FixedClock SystemClock",
            "errors": "TidemillError",
            "keys": "Keys",
            "ledger": "Head Ledger Line",
            "refs": "Ref parse_ref",
            "schema": "Contract Event",
            "settings": "Settings",
            "subjects": "Surrogates Vault",
        },
    )
