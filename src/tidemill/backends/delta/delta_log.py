"""Delta log: its entries and checkpoints as files (Delta protocol, "Delta Log Entries" and "Checkpoints")."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import CorruptFile
from tidemill.core.ports import TableCommit

#: The name of this application in transactions and commit infos.
APP = "tidemill"


def entry_names(log: Path) -> list[str]:
    """The names of a log's entries, newest first; as text, because thousands of paths are costly to sort."""
    names = os.listdir(log) if log.is_dir() else []  # noqa: PTH208 - names alone
    return sorted((name for name in names if name.endswith(".json") and not name.startswith(".")), reverse=True)


def checkpoint_files(log: Path) -> list[Path]:
    """The checkpoints in a log, sorted by version."""
    # one pattern for all versions: Python keeps each that it has compiled
    return sorted(log.glob("*.checkpoint*.parquet"))


def version_of(file: Path) -> int:
    """The version that a file of a log belongs to."""
    return int(file.name.partition(".")[0])


def read_commit(file: Path) -> TableCommit:
    """The commit in an entry of a log; `CorruptFile` if it is empty or cannot be read."""
    version = version_of(file)
    try:
        actions = [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    except ValueError as error:
        raise CorruptFile(f"{file} cannot be read: {error}", tip="tidemill verify") from error
    if not actions:
        raise CorruptFile(f"{file} is empty: a version is missing", tip="tidemill verify")
    numbers = [action["txn"]["version"] for action in actions if action.get("txn", {}).get("appId") == APP]
    notes = [action["commitInfo"].get(APP) for action in actions if "commitInfo" in action]
    return TableCommit(
        version=version,
        number=numbers[0] if numbers else 0,
        note=json.loads(notes[0]) if notes and notes[0] else {},
        added=tuple(action["add"]["path"] for action in actions if "add" in action),
        removed=tuple(action["remove"]["path"] for action in actions if "remove" in action),
    )


def pointed_version(pointer: Path) -> int:
    """The version of the checkpoint that `_last_checkpoint` names; -1 where it is missing or damaged."""
    try:
        version = json.loads(pointer.read_bytes())["version"]
    except (OSError, ValueError, TypeError, KeyError):
        return -1
    return version if isinstance(version, int) else -1


def is_parquet(file: Path) -> bool:
    """Whether a file can be read to its end as Parquet."""
    try:
        pq.read_table(file)
    except (pa.ArrowException, OSError):
        return False
    return True
