"""Lake: versioned tables that change by atomic publications. Rows are staged, checked, then published together.

Held and refused rows are stored separately, and every version can be read and verified. It imports only `core`. Rows
come from `loop`, which reads them from `sources`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.lake.append_logs import LogWindow as LogWindow
    from tidemill.lake.draft_changes import StagedChange as StagedChange
    from tidemill.lake.draft_changes import StagedMerge as StagedMerge
    from tidemill.lake.draft_changes import StreamMerge as StreamMerge
    from tidemill.lake.draft_changes import TableChange as TableChange
    from tidemill.lake.held_increments import HeldIncrement as HeldIncrement
    from tidemill.lake.lake import Lake as Lake
    from tidemill.lake.publication_draft import PublicationDraft as PublicationDraft
    from tidemill.lake.publications import IncrementState as IncrementState
    from tidemill.lake.snapshot import LakeSnapshot as LakeSnapshot
    from tidemill.lake.table_changes import changed_keys as changed_keys
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "append_logs": "LogWindow",
            "draft_changes": "StagedChange StagedMerge StreamMerge TableChange",
            "held_increments": "HeldIncrement",
            "lake": "Lake",
            "publication_draft": "PublicationDraft",
            "publications": "IncrementState",
            "snapshot": "LakeSnapshot",
            "table_changes": "changed_keys",
        },
    )
