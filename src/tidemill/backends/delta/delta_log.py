"""Delta log: its entries and checkpoints (Delta protocol, "Delta Log Entries" and "Checkpoints")."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import CorruptFile
from tidemill.core.ports import TableCommit

#: The name of this application in transactions and commit infos.
APP = "tidemill"


def entry_names(names: Iterable[str]) -> list[str]:
    """Of the names in a log, those of its entries, newest first."""
    return sorted((name for name in names if name.endswith(".json") and not name.startswith(".")), reverse=True)


def checkpoint_names(names: Iterable[str]) -> list[str]:
    """Of the names in a log, those of its checkpoints, sorted by version."""
    return sorted(name for name in names if ".checkpoint" in name and name.endswith(".parquet") and name[0] != ".")


def version_of(name: str) -> int:
    """The version that a file of a log belongs to."""
    return int(name.partition(".")[0])


def read_commit(name: str, content: bytes, place: str) -> TableCommit:
    """The commit in an entry of a log; `CorruptFile` with its `place` if it is empty or cannot be read."""
    try:
        actions = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError as error:
        raise CorruptFile(f"{place} cannot be read: {error}", tip="tidemill verify") from error
    if not actions:
        raise CorruptFile(f"{place} is empty: a version is missing", tip="tidemill verify")
    numbers = [action["txn"]["version"] for action in actions if action.get("txn", {}).get("appId") == APP]
    notes = [action["commitInfo"].get(APP) for action in actions if "commitInfo" in action]
    return TableCommit(
        version=version_of(name),
        number=numbers[0] if numbers else 0,
        note=json.loads(notes[0]) if notes and notes[0] else {},
        added=tuple(action["add"]["path"] for action in actions if "add" in action),
        removed=tuple(action["remove"]["path"] for action in actions if "remove" in action),
    )


def pointed_version(pointer: bytes) -> int:
    """The version of the checkpoint that `_last_checkpoint` names; -1 where it is damaged."""
    try:
        version = json.loads(pointer)["version"]
    except (ValueError, TypeError, KeyError):
        return -1
    return version if isinstance(version, int) else -1


def is_parquet(content: bytes) -> bool:
    """Whether a file can be read to its end as Parquet."""
    try:
        pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError):
        return False
    return True
