"""Release history of a model: its promotions and rollbacks, read from ledger entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tidemill.core.identity.account import Account
from tidemill.core.ledger.ledger_entry import LedgerEntry
from tidemill.core.record_format import Record, decode_record
from tidemill.core.records.gate import GateVerdict


class Promotion(Record, frozen=True):
    """One change of champion."""

    #: `for_you@3`; and the previous champion, empty for the first.
    release: str
    before: str
    why: Literal["promote", "rollback"]
    at: int
    account: Account
    #: What was checked; `None` in entries of older versions.
    verdict: GateVerdict | None = None
    #: Number and hash of the ledger entry.
    entry: int = 0
    entry_hash: str = ""


def promotion_of(line: LedgerEntry) -> Promotion:
    """The promotion or rollback that a ledger entry records."""
    return Promotion(
        release=line.refs_out[0].removeprefix("release:"),
        before=line.details["from"],
        why=line.details["why"],
        at=line.at,
        account=line.account,
        verdict=decode_record(line.details["verdict"], GateVerdict) if "verdict" in line.details else None,
        entry=line.seq,
        entry_hash=line.hash,
    )


def champion_stack(history: Sequence[Promotion]) -> list[str]:
    """The stack of champions up to the current one: a promotion pushes one, a rollback pops one."""
    stack: list[str] = []
    for change in history:
        if change.why == "rollback" and len(stack) > 1:
            stack.pop()
        else:
            stack.append(change.release)
    return stack
