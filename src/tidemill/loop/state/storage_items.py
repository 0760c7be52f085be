"""Action items about a project's own files: a vault that cannot be read, and what was damaged on disk of the server's
log and of the online values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tidemill.core.errors import TidemillError
from tidemill.core.formatting import count
from tidemill.feedback import damaged_records
from tidemill.loop.state.action_items import ActionCommand, ActionItem

_VERIFY = ActionCommand(text="tidemill verify", does="verify all other files, which may lie on the same disk")
_REPAIR = ActionCommand(text="tidemill run", does="make them again from the published tables")


def storage_items(state: Path, check_vault: Callable[[], None], online: Mapping[str, str]) -> tuple[ActionItem, ...]:
    """The items; `state` is the folder of all files that tidemill writes, `check_vault` raises the vault's error, and
    `online` is view -> damage of its online values.
    """
    found = [_damaged_log(table, files) for table, files in damaged_records(state / "log").items()]
    if online:
        found.append(_damaged_online(online))
    try:
        check_vault()
    except (TidemillError, OSError) as error:
        return (_vault(error), *found)
    return tuple(found)


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


def _damaged_online(damage: Mapping[str, str]) -> ActionItem:
    views = ", ".join(sorted(view or "all views" for view in damage))
    return ActionItem(
        weight="broken",
        what=f"Online values are damaged on disk ({views})",
        why=(*damage.values(),),
        commands=(_REPAIR, _VERIFY),
    )
