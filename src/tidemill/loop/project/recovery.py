"""Crash recovery under the right lease: an interrupted publication, and pointers that are behind the ledger."""

from __future__ import annotations

from tidemill.core.errors import LeaseTaken
from tidemill.core.lease import LAKE, live_lease
from tidemill.loop.project.stores import Stores


def recover_lake(stores: Stores) -> None:
    """Finish a publication that a crash interrupted; a run that is at work has done so when it began.

    It is for whoever reads the lake without the lease `lake`, such as a training: what is published is not touched.
    """
    if not stores.lake.interrupted():
        return
    try:
        with stores.leases.take(LAKE) as lease:
            stores.lake.recover(lease)
    except LeaseTaken:
        return  # that run publishes, and the newest publication before it is whole


def recover_pointers(stores: Stores) -> list[str]:
    """Put the pointer of each model where the ledger says; sentences say what was done.

    A model that somebody is promoting or rolling back is left out: the promotion puts its pointer right.
    """
    said: list[str] = []
    for model in stores.releases.models():
        try:
            with stores.leases.take(live_lease(model)):
                said += stores.releases.recover([model])
        except LeaseTaken:
            continue
    return said
