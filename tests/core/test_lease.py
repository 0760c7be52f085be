"""Waiting for a lease: as soon as it is free, and no longer than was said."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tidemill.backends.file_leases import FileLeases
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.errors import LeaseTaken
from tidemill.core.lease import live_lease, wait_for_lease


def test_it_is_held_as_soon_as_it_is_free(tmp_path: Path, lines: SqliteLedger) -> None:
    leases, name = FileLeases(tmp_path, lines), live_lease("for_you")
    first = leases.take(name)
    threading.Timer(0.2, first.release).start()
    started = time.monotonic()
    with wait_for_lease(leases, name) as lease:
        assert (lease.name, lease.number) == ("live:for_you", 2)
    assert time.monotonic() - started < 5


def test_patience_ends_with_the_name_of_the_holder(tmp_path: Path, lines: SqliteLedger) -> None:
    leases = FileLeases(tmp_path, lines)
    with leases.take("live:a"), pytest.raises(LeaseTaken, match="`live:a` is held by process"):
        wait_for_lease(leases, "live:a", 0.1)
