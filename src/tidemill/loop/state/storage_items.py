"""Action items about a project's own files: records of the server's log that were damaged on disk."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.formatting import count
from tidemill.feedback import damaged_records
from tidemill.loop.state.action_items import ActionCommand, ActionItem

_VERIFY = ActionCommand(text="tidemill lake verify", does="verify the lake's files, which may lie on the same disk")


def storage_items(state: Path) -> tuple[ActionItem, ...]:
    """The items; `state` is the folder of all files that tidemill writes."""
    return tuple(_damaged_log(table, files) for table, files in damaged_records(state / "log").items())


def _damaged_log(table: str, files: list[Path]) -> ActionItem:
    folder = files[0].parent
    why = (
        "All other records are in the lake.",
        f"The bytes are in {folder}. Check the disk, then remove them.",
    )
    return ActionItem(
        weight="broken",
        what=f"The log of {table} was damaged on disk in {count(len(files), 'place')}",
        why=why,
        commands=(_VERIFY,),
    )
