"""Action items that follow from the code of a project: stale champions, and champions whose feature code has changed.

The console does not load mill.py, so a run leaves these items for it in `serving/code_items.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tidemill import loop
from tidemill.core.record_format import VersionedRecord
from tidemill.lake import LakeSnapshot
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.state.action_items import ActionCommand, ActionItem, CodeItem
from tidemill.serving.live.state_files import read_state, write_state

if TYPE_CHECKING:
    from tidemill.loop.refresh.refresh_models import RefreshStatus


class CodeItems(VersionedRecord, frozen=True):
    """The action items of the code, as the last run found them."""

    KIND: ClassVar[str] = "code item list"

    items: tuple[CodeItem, ...] = ()


#: The file of this module in the server's folder, by pattern.
CODE_ITEMS_FILE: dict[str, type[VersionedRecord]] = {"code_items.json": CodeItems}


def refresh_statuses(stores: Stores, graph: ProjectGraph, view: LakeSnapshot | None) -> dict[str, RefreshStatus | None]:
    """Model -> its refresh status, for the recommenders that declare a refresh."""
    return {
        model.name: loop.refresh_status(stores, graph, model, view)  # through the package: loads the learners
        for model in graph.mill.recommenders.values()
        if model.refresh is not None
    }


def code_items(
    stores: Stores, graph: ProjectGraph, refresh: Mapping[str, RefreshStatus | None]
) -> tuple[CodeItem, ...]:
    """Champions that are out of date or that a run cannot refresh, and those whose feature code has changed."""
    found = []
    for status in refresh.values():
        if status is not None and status.champion is not None and (status.stuck or status.due):
            does = "make it what mill.py declares" if status.stuck else "refresh it"
            command = ActionCommand(text=status.stuck or "tidemill run", does=does)
            found.append(_item(status.champion.name, status.says, command))
    for name in graph.askings:
        champion = stores.releases.champion(name)
        changed = loop.changed_code(stores, graph, champion) if champion else []
        if champion and changed:
            what = f"The code of {', '.join(changed)} has changed since {name} was trained, and is already served"
            command = ActionCommand(text=f"tidemill train {name}", does="train it on the new features")
            found.append(_item(champion.name, what, command))
    return tuple(found)


def write_code_items(stores: Stores, graph: ProjectGraph) -> None:
    """Leave the items for processes that do not load mill.py."""
    view = stores.lake.view() if stores.ledger.last("publish") else None
    items = CodeItems(items=code_items(stores, graph, refresh_statuses(stores, graph, view)))
    if items != (read_state(stores.code_items_file, CodeItems) or CodeItems()):
        write_state(stores.code_items_file, items)


def read_code_items(file: Path) -> tuple[CodeItem, ...]:
    """The items that the last run left."""
    found = read_state(file, CodeItems)
    return found.items if found else ()


def _item(release: str, what: str, command: ActionCommand) -> CodeItem:
    return CodeItem(release=release, item=ActionItem(weight="decide", what=what, commands=(command,)))
