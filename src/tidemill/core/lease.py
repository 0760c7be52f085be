"""Lease names, and waiting for a lease. Several are acquired in this order: lake, train, live.

The order is fixed so that two processes never deadlock. The run that ingests days holds `lake`, a training or import of
a model holds `train:MODEL`, and a process that changes the live release holds `live:MODEL`.
"""

from __future__ import annotations

import time

from tidemill.core.errors import LeaseTaken
from tidemill.core.ports import Lease, Leases

LAKE = "lake"
#: Held by the server's log writer.
LOG = "log"
#: How long a promotion or rollback waits for another one of the same model, in seconds.
PATIENCE_S = 10.0
_PAUSE_S = 0.05


def train_lease(model: str) -> str:
    """The lease name of a training or an import of `model`."""
    return f"train:{model}"


def live_lease(model: str) -> str:
    """The lease name for changing the champion of `model` or removing its bundles."""
    return f"live:{model}"


def wait_for_lease(leases: Leases, name: str, patience_s: float = PATIENCE_S) -> Lease:
    """Acquire `name` when it is free. Raises `LeaseTaken` with the holder if it is still held after `patience_s`."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return leases.take(name)
        except LeaseTaken:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_S)
