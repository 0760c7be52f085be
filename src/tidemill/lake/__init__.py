"""Where are the rows kept, and which of them are true? Tables that change by whole publications: staged unseen,
checked, then named all at once. Held or refused rows lie beside them, and every version can be read and verified.

Upstream is `core` alone. Rows come from `loop`, which takes them from `sources`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.lake.changes import changed_keys as changed_keys
    from tidemill.lake.draft import Changed as Changed
    from tidemill.lake.draft import Draft as Draft
    from tidemill.lake.draft import Merged as Merged
    from tidemill.lake.held import Held as Held
    from tidemill.lake.lake import Lake as Lake
    from tidemill.lake.publications import IncrementState as IncrementState
    from tidemill.lake.view import View as View
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "changes": "changed_keys",
            "draft": "Changed Draft Merged",
            "held": "Held",
            "lake": "Lake",
            "publications": "IncrementState",
            "view": "View",
        },
    )
