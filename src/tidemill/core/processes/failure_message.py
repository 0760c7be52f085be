"""The failure message of an exception, without data of the failed task."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path

from tidemill.core.errors import BackendMissing, TidemillError
from tidemill.core.ledger.ledger import redact_surrogates


def failure_message(problem: BaseException) -> str:
    """The message of an error, also how to install what is missing; of a foreign error only its type and line, because
    its message may quote data.
    """
    if isinstance(problem, TidemillError):
        install = f": {problem.tip}" if isinstance(problem, BackendMissing) and problem.tip else ""
        return redact_surrogates(f"{problem.message}{install}")
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(problem).__name__}{where}"


def death_message(status: int, peak_bytes: int = 0) -> str:
    """What an exit status says; a negative one is the number of the signal.

    >>> death_message(7)
    'its process was ended with status 7'
    >>> death_message(-9, 2_000_000_000)
    'its process was ended by SIGKILL at 2.0 GB; the machine may have run out of memory'
    """
    if status >= 0:
        return f"its process was ended with status {status}"
    grown = f" at {peak_bytes / 1e9:.1f} GB" if peak_bytes else ""
    memory = "; the machine may have run out of memory" if status == -signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(-status).name}{grown}{memory}"
