"""What `off` and `on` share: the switch is thrown by a file; the ledger hears of it when it can."""

from __future__ import annotations

import sqlite3

from tidemill.cli.asked import Asked, actor
from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.ledger import Ledger
from tidemill.loop.house import STATE
from tidemill.serving import switch


def throw(ask: Asked, model: str, *, off: bool, why: str) -> None:
    """Throw the switch of a model and say whether the ledger has its line."""
    told = switch(
        ask.project / STATE / "serving", model, off=off, who=actor(), why=why, clock=SystemClock(), ledger=_ledger(ask)
    )
    word = "off" if off else "on"
    later = "" if told else "   (the ledger is away; its line is written when it is back)"
    ask.result({"model": model, "off": off, "ledger": told}, lambda out: out.print(f"{model} is {word}{later}"))


def _ledger(ask: Asked) -> Ledger | None:
    try:
        return ask.house.ledger
    except (TidemillError, OSError, sqlite3.Error) as error:
        ask.err.print(f"the ledger does not open: {str(error).splitlines()[0]}")
        return None
