"""The ledger of a project held against itself, its exported checkpoints and the heads in the lake's commits."""

from __future__ import annotations

from tidemill.core.errors import LedgerCorrupt
from tidemill.governance import audit as account
from tidemill.loop.house import House


def audit(house: House) -> list[str]:
    """Every problem as a sentence; none where the account can be believed."""
    try:
        heads = house.lake.heads()
    except LedgerCorrupt:
        heads = []  # which of the lake's commits are published cannot be read; the line that is wrong is named below
    return account.verify(house.ledger, house.state / "checkpoints", heads)
