"""Kill switch of a model, for `off` and `on`: a file sets it; the ledger entry follows as soon as possible."""

from __future__ import annotations

from contextlib import suppress

from tidemill.cli.context import CommandContext
from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import local_account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.loop.project.stores import STATE, project_keys
from tidemill.serving import flush_spool, spooled, switch

_WHY = {
    "waiting": "the ledger is unavailable; the entry is written when it is back",
    "lost": "the disk is full and the ledger has no entry; repeat the command when there is space",
}


def set_switch(context: CommandContext, model: str, *, off: bool, why: str) -> None:
    """Set the switch of a model, and report whether the ledger has the entry."""
    root = context.project / STATE / "serving"
    status = switch(
        root, model, off=off, account=local_account(), why=why, clock=SystemClock(), keys=_keys(context), ledger=None
    )
    ledger = _ledger(context)  # only after the switch is set, because opening the stores may wait or fail
    if ledger is not None:
        with suppress(OSError):  # a full disk: the spool keeps the entries
            flush_spool(root, ledger)
    # a server may already have written the entry
    recorded = status != "lost" and ledger is not None and not spooled(root)
    state = "off" if off else "on"
    remark = "" if recorded else f" ({_WHY[status]})"
    context.result(
        {"model": model, "off": off, "ledger": recorded}, lambda out: out.print(f"{model} is {state}{remark}")
    )


def _keys(context: CommandContext) -> Keys | None:
    try:
        return project_keys(context.settings)
    except Exception:  # off works without them; on says that they are missing
        return None


def _ledger(context: CommandContext) -> Ledger | None:
    try:
        return context.stores.ledger
    except TidemillError as error:
        why = error.message
    except Exception as error:  # the switch is set even if the ledger or mill.py is broken
        why = type(error).__name__
    context.err.print(f"cannot open the ledger: {why}", markup=False)
    return None
