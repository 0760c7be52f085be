"""Integrity audit of a project: the ledger against its checkpoints, the lake's files against their hashes."""

from __future__ import annotations

from tidemill.core.errors import LedgerCorrupt
from tidemill.core.ledger.head_file import HeadFile
from tidemill.governance import ledger_audit as account
from tidemill.loop.ingest.arrivals import stream_position
from tidemill.loop.project.stores import CHECKPOINTS, HEAD, Stores, known_heads
from tidemill.serving.events.streams import stream_problems
from tidemill.serving.live.kill_switch import switch_problems


def audit(stores: Stores) -> list[str]:
    """Every problem of the ledger as a sentence; empty if the ledger is intact.

    Compares it with the heads that are stored elsewhere, and the pointers and kill switches with its entries.
    """
    head_file = HeadFile(stores.state / HEAD, stores.keys.public)
    heads, problems = known_heads(stores.state, head_file), []
    try:
        if head_file.read() is None:
            problems.append(f"{head_file.path} is missing; the next entry writes it")
    except LedgerCorrupt as error:
        problems.append(error.message)
    try:
        heads += stores.lake.heads()
        live = [
            *stores.releases.pointer_problems(),
            *switch_problems(stores.serving_root, stores.ledger),
            *stream_problems(stores.serving_root, stores.keys.public),
        ]
    except LedgerCorrupt:
        live = []  # the published commits cannot be read; the corrupt entry is reported below
    return account.verify_ledger(stores.ledger, stores.state / CHECKPOINTS, heads) + problems + live


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
