"""Audit of the ledger: verified against itself and against every head that was kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tidemill.core.errors import LedgerCorrupt
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerHead


def verify_ledger(ledger: Ledger, checkpoints: Path | None = None, heads: Iterable[LedgerHead | str] = ()) -> list[str]:
    """Every problem as a sentence that names its line; an empty list if the ledger is valid.

    `checkpoints` is a folder of exported heads (it may be missing: nothing was exported), and `heads` are those in the
    lake's commits, as `LedgerHead` or as `seq:hash:signature`. It finds an edited line, a broken link, an edited index
    column, a foreign signature, and, by the heads, a dropped tail or a restored older copy.
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
