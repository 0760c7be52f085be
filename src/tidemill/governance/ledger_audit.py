"""Audit of the ledger: its own consistency, and agreement with every head that is stored elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tidemill.core.errors import LedgerCorrupt
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead


def verify_ledger(ledger: Ledger, checkpoints: Path | None = None, heads: Iterable[LedgerHead | str] = ()) -> list[str]:
    """Every problem as a sentence with its entry; an empty list if the ledger is valid.

    `checkpoints` is a folder of exported heads (it may be missing: nothing was exported), and `heads` are those in the
    lake's commits, as `LedgerHead` or as `seq:hash:signature`. Detects an edited entry, a broken link, an edited index
    column, a foreign signature, and, with the heads, a truncated ledger or a restored older copy.
    """
    known: list[LedgerHead] = []
    problems: list[str] = []
    if checkpoints is not None and checkpoints.is_dir():
        known, problems = checkpoint.read(checkpoints)
    for head in heads:
        try:
            known.append(head if isinstance(head, LedgerHead) else LedgerHead.parse(head))
        except LedgerCorrupt as error:
            problems.append(f"a ledger head in the lake is not valid: {error.message}")
    return ledger.verify(known) + problems
