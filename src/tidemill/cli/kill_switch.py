"""What `off` and `on` share: the switch is thrown by a file; the ledger hears of it when it can."""

from __future__ import annotations

from contextlib import suppress

from tidemill.cli.context import CommandContext, actor
from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.ledger.ledger import Ledger
from tidemill.loop.project.stores import STATE
from tidemill.serving import flush_spool, spooled, switch

_WHY = {
    "waiting": "the ledger is away; its line is written when it is back",
    "lost": "the disk is full: the ledger has no line of it; throw the switch again when there is room",
}


def set_switch(ask: CommandContext, model: str, *, off: bool, why: str) -> None:
    """Throw the switch of a model and say whether the ledger has its line."""
    root = ask.project / STATE / "serving"
    line = switch(root, model, off=off, who=actor(), why=why, clock=SystemClock(), ledger=None)
    ledger = _ledger(ask)  # only now: the file is what counts, and opening the stores may wait or fail
    if ledger is not None:
        with suppress(OSError):  # a full disk: what fails keeps waiting
            flush_spool(root, ledger)
    told = line != "lost" and ledger is not None and not spooled(root)  # a server may have written the line before us
    word = "off" if off else "on"
    later = "" if told else f"   ({_WHY[line]})"
    ask.result({"model": model, "off": off, "ledger": told}, lambda out: out.print(f"{model} is {word}{later}"))


def _ledger(ask: CommandContext) -> Ledger | None:
    try:
        return ask.stores.ledger
    except TidemillError as error:
        why = error.message
    except Exception as error:  # whatever is wrong with the ledger or the project file, the switch is thrown
        why = type(error).__name__
    ask.err.print(f"the ledger does not open: {why}", markup=False)
    return None
