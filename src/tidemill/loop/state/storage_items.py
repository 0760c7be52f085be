"""Action items about a project's own files: a vault that cannot be read, and records of the server's log that were
damaged on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidemill.core.errors import TidemillError
from tidemill.core.formatting import count
from tidemill.feedback import damaged_records
from tidemill.loop.state.action_items import ActionCommand, ActionItem

_VERIFY = ActionCommand(text="tidemill lake verify", does="verify the lake's files, which may lie on the same disk")


def storage_items(state: Path, check_vault: Callable[[], None]) -> tuple[ActionItem, ...]:
    """The items; `state` is the folder of all files that tidemill writes, `check_vault` raises the vault's error."""
    logs = [_damaged_log(table, files) for table, files in damaged_records(state / "log").items()]
    try:
        check_vault()
    except (TidemillError, OSError) as error:
        return (_vault(error), *logs)
    return tuple(logs)


def _vault(error: Exception) -> ActionItem:
    why = (
        error.message if isinstance(error, TidemillError) else str(error),
        "Models serve, and posted events are accepted under the vault's own key.",
        "Days with people are not ingested, and nobody can be named or erased, until the vault is restored.",
    )
    restore = ActionCommand(text="tidemill run", does="after restoring it from a backup: ingest what waits")
    return ActionItem(weight="broken", what="The vault cannot be read", why=why, commands=(restore,))


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
