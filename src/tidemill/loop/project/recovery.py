"""Crash recovery under the right lease: an interrupted publication, and pointers that are behind the ledger."""

from __future__ import annotations

from tidemill.core.errors import LeaseTaken
from tidemill.core.lease import LAKE, live_lease
from tidemill.loop.project.stores import Stores


def recover_lake(stores: Stores) -> None:
    """Finish a publication that a crash interrupted; a run in progress did so when it began.

    For readers of the lake without the lease `lake`, such as a training: published data do not change.
    """
    if not stores.lake.interrupted():
        return
    try:
        with stores.leases.take(LAKE) as lease:
            stores.lake.recover(lease)
    except LeaseTaken:
        return  # that run publishes, and the newest publication before it is complete


def recover_pointers(stores: Stores) -> list[str]:
    """Correct the pointer of each model to the ledger's champion; returns sentences about the corrections.

    A model with a promotion or rollback in progress is skipped, because the promotion writes its pointer.
    """
    notes: list[str] = []
    for model in stores.releases.models():
        try:
            with stores.leases.take(live_lease(model)):
                notes += stores.releases.recover([model])
        except LeaseTaken:
            continue
    return notes
