"""Recovery under the right lease: an interrupted publication, and pointers and kill switches as the ledger has them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tidemill.core.errors import LeaseTaken
from tidemill.core.lease import LAKE, live_lease
from tidemill.loop.project.stores import Stores
from tidemill.release.live_deployment import LIVE
from tidemill.serving.live.kill_switch import FILE as SWITCH
from tidemill.serving.live.kill_switch import heal_switch
from tidemill.serving.live.state_files import file_stamp


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


def recover_live_files(stores: Stores) -> list[str]:
    """Write each pointer and kill switch again that differs from the ledger; returns sentences about the corrections.

    A model with a promotion or rollback in progress is skipped, because the promotion writes them. Raises
    `LedgerForked` if the ledger is an older copy, by which nothing is corrected.
    """
    stores.ledger.refuse_fork()
    notes: list[str] = []
    for model in stores.releases.models():
        try:
            with stores.leases.take(live_lease(model)):
                notes += stores.releases.recover([model])
                if stores.releases.last_promotion(model) is not None:
                    notes += filter(None, [heal_switch(stores.serving_root, model, stores.ledger)])
        except LeaseTaken:
            continue
    return notes


class LiveFiles:
    """The pointers and kill switches of a project, recovered when one of the files has changed."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._stamps: dict[Path, tuple[int, int, int]] | None = None

    def heal(self) -> list[str]:
        """Correct what differs from the ledger since the last call; costs one `stat` per file if nothing changed."""
        found = {}
        for name in (LIVE, SWITCH):
            for path in self._stores.serving_root.glob(f"*/{name}"):
                with suppress(FileNotFoundError):
                    found[path] = file_stamp(path)
        if found == self._stamps:
            return []
        self._stamps = found
        return recover_live_files(self._stores)
