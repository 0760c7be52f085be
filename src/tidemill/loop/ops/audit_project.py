"""Integrity audit of a project: the ledger against its checkpoints, the lake's files against their hashes."""

from __future__ import annotations

from tidemill.core.errors import LedgerCorrupt
from tidemill.governance import ledger_audit as account
from tidemill.loop.ingest.arrivals import stream_position
from tidemill.loop.project.stores import Stores


def audit(stores: Stores) -> list[str]:
    """Every problem of the ledger as a sentence; empty if the ledger is intact."""
    try:
        heads = stores.lake.heads()
    except LedgerCorrupt:
        heads = []  # the published commits cannot be read; the corrupt entry is reported below
    return account.verify_ledger(stores.ledger, stores.state / "checkpoints", heads)


def verify_lake(stores: Stores) -> list[str]:
    """A sentence for each changed or missing file of the lake, including source states."""
    states = {stream: stream_position(stores, stream).state for stream in stores.lake.streams()}
    return [
        *stores.lake.verify(),
        *(
            problem
            for stream, state in states.items()
            if state is not None
            for problem in stores.source_states.verify(stream, state)
        ),
    ]
