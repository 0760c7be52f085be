"""Action items that a run finds: champions that are stale, whose feature code has changed, whose live rate has fallen.

The console does not load mill.py, so a run leaves these items for it in `serving/code_items.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tidemill import loop
from tidemill.core.library_errors import as_tidemill_error, require_error
from tidemill.core.record_format import VersionedRecord
from tidemill.core.records.release import Release
from tidemill.feedback import OUTCOMES, PREDICTIONS, RealisedRate
from tidemill.feedback.live_rate import RECENT_DAYS, fallen_rate
from tidemill.lake import LakeSnapshot
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.state.action_items import ActionCommand, ActionItem, CodeItem
from tidemill.serving.live.state_files import read_state, write_state

if TYPE_CHECKING:
    from tidemill.loop.refresh.refresh_models import RefreshStatus


class CodeItems(VersionedRecord, frozen=True):
    """The action items of the code, as the last run found them, and those of the live rates."""

    KIND: ClassVar[str] = "code item list"

    items: tuple[CodeItem, ...] = ()
    of_rates: tuple[CodeItem, ...] = ()
    #: The batch of outcomes that the rates were computed from.
    outcomes: int = 0


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
    before = read_state(stores.code_items_file, CodeItems) or CodeItems()
    logged = stores.lake.recorded(OUTCOMES)
    number = logged[0] if logged else 0
    of_rates = before.of_rates
    if number != before.outcomes:
        try:
            of_rates = rate_items(stores, list(graph.mill.recommenders))
        except BaseException as error:  # also those of Parquet's readers: a damaged log stops no run
            require_error(error)
            number, of_rates = before.outcomes, _unknown_rates(stores, graph, as_tidemill_error(error).message)
    items = CodeItems(
        items=code_items(stores, graph, refresh_statuses(stores, graph, view)), of_rates=of_rates, outcomes=number
    )
    if items != before:
        write_state(stores.code_items_file, items)


def _unknown_rates(stores: Stores, graph: ProjectGraph, why: str) -> tuple[CodeItem, ...]:
    champions = [stores.releases.champion(name) for name in graph.mill.recommenders]
    command = ActionCommand(text="tidemill verify", does="find what is damaged, and how to heal it")
    return tuple(_item(one.name, f"The live rate of {one.name} is unknown: {why}", command) for one in champions if one)


def rate_items(stores: Stores, models: Sequence[str]) -> tuple[CodeItem, ...]:
    """Champions whose live rate has fallen significantly."""
    predictions, outcomes = stores.lake.log(PREDICTIONS), stores.lake.log(OUTCOMES)
    found = []
    for name in models if predictions is not None and outcomes is not None else ():
        champion = stores.releases.champion(name)
        if champion is None:
            continue
        learned = _learned(champion)
        line = [one.name for one in stores.releases.all(name) if _learned(one) == learned]
        fall = fallen_rate(predictions, outcomes, champion.name, line=line)
        if fall is not None:
            why = (
                f"Over its last {RECENT_DAYS} days {_rate(fall.now)}; {fall.reference} had {_rate(fall.before)}.",
                "A recommendation counts once, and only outcomes within a day of it count.",
            )
            what = f"The live rate of {name} has fallen from {fall.before.rate:.0%} to {fall.now.rate:.0%}"
            commands = (
                ActionCommand(text=f"tidemill train {name}", does="train it on the newest data, and compare"),
                ActionCommand(text=f"tidemill rollback {name}", does="roll back to the previous champion"),
            )
            found.append(
                CodeItem(release=champion.name, item=ActionItem(weight="decide", what=what, why=why, commands=commands))
            )
    return tuple(found)


def _learned(release: Release) -> str:
    """The release that was trained: itself, unless it is a refresh."""
    return release.card.refreshed.of if release.card.refreshed else release.name


def _rate(one: RealisedRate) -> str:
    return f"{one.taken:,} of {one.shown:,} recommendations led to an outcome ({one.low:.0%} to {one.high:.0%})"


def read_code_items(file: Path, *, of_rates_only: bool = False) -> tuple[CodeItem, ...]:
    """The items that the last run left."""
    found = read_state(file, CodeItems)
    if found is None:
        return ()
    return found.of_rates if of_rates_only else (*found.items, *found.of_rates)


def _item(release: str, what: str, command: ActionCommand) -> CodeItem:
    return CodeItem(release=release, item=ActionItem(weight="decide", what=what, commands=(command,)))
