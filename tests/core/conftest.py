"""Keys, a clock and a ledger for the core's tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.open(tmp_path / "keys", create=True)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2018, 9, 20, tzinfo=UTC))


@pytest.fixture
def lines(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.sqlite")


@pytest.fixture
def ledger(lines: SqliteLedger, keys: Keys, clock: FixedClock) -> Ledger:
    return Ledger(lines, keys, clock, Account(name="ann"))
