"""Failpoints: named points where a test can kill the process, to test a crash between any two steps.

`failpoint(name)` is called before and after each step with a durable effect. The setting `failpoint`
(`TIDEMILL_FAILPOINT`), passed to `arm`, is `NAME` or `NAME:K`: the process kills itself with SIGKILL when it reaches
that point for the K-th time. If no failpoint is armed, a call costs one comparison.
"""

from __future__ import annotations

import os
import signal

from tidemill.core.errors import SettingError, nearest

#: Every failpoint of the package: number -> name, in the order in which a run reaches them.
FAILPOINTS: dict[int, str] = {
    1: "increment.read",
    2: "vault.stored",
    3: "quarantine.written",
    4: "publish.staged",
    5: "publish.checked",
    6: "publish.intent",
    7: "publish.commit",
    8: "publish.committed",
    9: "publish.ledger",
    10: "publish.done",
    11: "hold.written",
    12: "hold.ledger",
    13: "features.written",
    14: "features.ledger",
    15: "bundle.written",
    16: "bundle.ledger",
    17: "release.written",
    18: "release.ledger",
    19: "promote.ledger",
    20: "promote.pointer",
    21: "log.staged",
    22: "log.committed",
    23: "refresh.ledger",
    24: "counts.staged",
    25: "counts.written",
    26: "drop.ledger",
    27: "dataset.ledger",
    28: "source_state.put",
    29: "source_state.removed",
    30: "expire.manifests",
    31: "expire.data",
    32: "expire.log",
}

_armed: str | None = None
_left = 0


def arm(spec: str | None) -> None:
    """Arm one failpoint by name or number, optionally followed by `:K`; `None` disarms."""
    global _armed, _left
    if not spec:
        _armed = None
        return
    name, _, count = spec.partition(":")
    found = FAILPOINTS.get(int(name)) if name.isdecimal() else name
    if found not in FAILPOINTS.values() or not (count or "1").isdecimal():
        raise SettingError(f"unknown failpoint {spec!r}", tip=nearest(name, FAILPOINTS.values()))
    _armed, _left = found, int(count or 1)


def failpoint(name: str) -> None:
    """Kill the process if the failpoint `name` is armed and this is its K-th call."""
    global _left
    if _armed is not None and name == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
