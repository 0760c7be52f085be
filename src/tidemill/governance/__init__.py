"""Can the records be trusted, and is personal data safe? Audit of the ledger, and the scan for leaked identifiers.

Upstream are all packages: this one reads the ledger and every store, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.governance.identifier_scan.identifier_scan import IdentifierLeak as IdentifierLeak
    from tidemill.governance.identifier_scan.identifier_scan import scan_folder as scan_folder
    from tidemill.governance.ledger_audit import verify_ledger as verify_ledger
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "identifier_scan.identifier_scan": "IdentifierLeak scan_folder",
            "ledger_audit": "verify_ledger",
        },
    )
