"""What is kept of a project is what was written: the ledger against its heads, the lake against its hashes."""

from __future__ import annotations

from tidemill.core.errors import LedgerCorrupt
from tidemill.governance import audit as account
from tidemill.loop.arrivals import stands
from tidemill.loop.house import House


def audit(house: House) -> list[str]:
    """Every problem as a sentence; none where the account can be believed."""
    try:
        heads = house.lake.heads()
    except LedgerCorrupt:
        heads = []  # which of the lake's commits are published cannot be read; the line that is wrong is named below
    return account.verify(house.ledger, house.state / "checkpoints", heads)


def verify_lake(house: House) -> list[str]:
    """A sentence for each file of the lake that is not what was written, the states of the sources included."""
    states = {stream: stands(house, stream).state for stream in house.lake.streams()}
    return [
        *house.lake.verify(),
        *(
            problem
            for stream, state in states.items()
            if state is not None
            for problem in house.source_states.verify(stream, state)
        ),
    ]
