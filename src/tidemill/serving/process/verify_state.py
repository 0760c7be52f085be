"""Verification of the server's state files: pointers, switches, clocks, and what the processes report to each other."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from tidemill.core.errors import FormatTooNew
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.records.deployment import Deployment
from tidemill.core.storage.verification import Verification
from tidemill.release import LIVE
from tidemill.serving.events.streams import FILE as STREAMS
from tidemill.serving.events.streams import Streams
from tidemill.serving.live.fact_publication import FILE as PUBLICATION
from tidemill.serving.live.fact_publication import FactPublication
from tidemill.serving.live.kill_switch import FILE as SWITCH
from tidemill.serving.live.kill_switch import OLD_FILE as POLICY
from tidemill.serving.live.kill_switch import SPOOL, SwitchState, spool_problems
from tidemill.serving.live.live_model import SERVING
from tidemill.serving.live.server_clock import FILE as CLOCK
from tidemill.serving.live.server_clock import Replay
from tidemill.serving.live.state_files import state_problem
from tidemill.serving.process.hot_swap import BEFORE, STATE, SwapState
from tidemill.serving.process.server_handle import LOG
from tidemill.serving.process.server_state import SERVER, ServerState
from tidemill.serving.process.worker_site import WORKERS, WorkerReport

#: Pattern of a path -> type of its content.
_RECORDS: dict[str, type] = {
    CLOCK: Replay,
    PUBLICATION: FactPublication,
    STREAMS: Streams,
    SERVER: ServerState,
    f"{WORKERS}/*.json": WorkerReport,
    f"*/{LIVE}": Deployment,
    f"*/{SERVING}": Deployment,
    f"*/{BEFORE}": Deployment,
    f"*/{STATE}": SwapState,
    f"*/{SWITCH}": SwitchState,
    f"*/{POLICY}": SwitchState,
}
#: Files that a run or the server writes again; of the others, only a person can say what was in them.
_MADE_AGAIN = {STREAMS, PUBLICATION, SERVER, LIVE, SERVING, STATE}
_UNREAD = {
    LOG: "the server's messages, for people",
    f"{WORKERS}/*.counters": "counters of requests, without checksums",
    "*.lock": "a lock file has no content",
}


def verify_state(found: Verification, public: str, others: Mapping[str, type[VersionedRecord]]) -> None:
    """Read every file in the folder `found.base`. `public` is the ledger's public key in hex, `others` are the patterns
    of files that other packages keep there.
    """
    root = found.base
    assert root is not None
    records = {**others, **_RECORDS}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        kind = next((kind for pattern, kind in records.items() if _fits(name, pattern)), None)
        if path.name == POLICY and path.with_name(SWITCH).exists():
            found.skip(name, f"the switch of an older version; {SWITCH} replaces it")
            continue
        if kind is not None and path.is_file():
            _verify(name, kind, public, found, derived=path.name in _MADE_AGAIN or kind in others.values())
        for pattern, why in _UNREAD.items():
            if fnmatch(name, pattern):
                found.skip(name, why)
    if (root / SPOOL).is_file() and (content := found.content(SPOOL)):
        for problem in spool_problems(root):
            found.problem(problem)
        found.skip(f"{len(content.splitlines())} switch entries", "they wait for the ledger; the server writes them")


def _verify(name: str, kind: type, public: str, found: Verification, *, derived: bool) -> None:
    assert found.base is not None
    content = found.content(name)
    if content is None:
        return
    if Path(name).name in (SERVING, BEFORE) and _is_unsigned(content):
        found.skip(name, "an older version did not sign it; the server writes it again before it follows it")
        return
    with found.attempt(name, derived=derived):
        if reason := state_problem(found.base / name, kind, public):
            found.problem(reason, derived=derived)


def _is_unsigned(content: bytes) -> bool:
    """Whether a deployment is whole, but has no signature."""
    try:
        return not decode_record(content, Deployment).signature
    except (msgspec.DecodeError, FormatTooNew):
        return False


def _fits(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)
