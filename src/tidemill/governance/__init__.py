"""What can people rely on, and what is owed to them? Audit of the ledger, and the search for identifiers that leaked.

Upstream is everything: this room reads the ledger and every store, and changes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.governance.audit import verify as verify
    from tidemill.governance.leaks import Leak as Leak
    from tidemill.governance.leaks import scan as scan
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "audit": "verify",
            "leaks": "Leak scan",
        },
    )
