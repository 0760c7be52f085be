"""Lease names, and waiting for a lease. Several are acquired in this order: lake, train, live.

The order is fixed so that two processes never deadlock. `lake` is held by the one run that ingests days, `train:MODEL`
by a training or an import of that model, and `live:MODEL` by a process that changes the live release.
"""

from __future__ import annotations

import time

from tidemill.core.errors import LeaseTaken
from tidemill.core.ports import Lease, Leases

LAKE = "lake"
#: The server's log writer holds this one.
LOG = "log"
#: How long a promotion or rollback waits for another one of the same model, seconds.
PATIENCE_S = 10.0
_PAUSE_S = 0.05


def train_lease(model: str) -> str:
    """The lease of a training or an import of `model`."""
    return f"train:{model}"


def live_lease(model: str) -> str:
    """The lease of whoever changes the champion of `model`, or removes its bundles."""
    return f"live:{model}"


def wait_for_lease(leases: Leases, name: str, patience_s: float = PATIENCE_S) -> Lease:
    """Hold `name` as soon as it is free; `LeaseTaken` with its holder where it is still taken after `patience_s`."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return leases.take(name)
        except LeaseTaken:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_S)
