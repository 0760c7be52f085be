"""Action items: `tidemill status` and the console show the same, in every state of a project."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from conftest_loop import FIRST, Project, daily

from tidemill.console.pages.loop_page import loop_page
from tidemill.console.web.console_process import console_stores
from tidemill.core.identity.account import Account
from tidemill.loop.project.stores import Stores
from tidemill.loop.release.go_live import go_live
from tidemill.loop.state.action_items import ActionItem
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.loop.state.project_status import status
from tidemill.loop.training.train import train
from tidemill.serving.live.kill_switch import switch

DAY = timedelta(days=1)


def items_of(project: Project) -> tuple[ActionItem, ...]:
    """What both show; the console has no mill.py, only the names of the models."""
    stores, graph = project.open()
    console = console_stores(stores, list(graph.mill.models))
    projection = LedgerProjection(stores.ledger)
    loop_page(console, projection)  # starts the looks that no page waits for
    for look in (console.problems, console.online_damage):
        cast(Any, look).__self__.wait()
    shown = loop_page(console, projection).needs
    found = status(stores, graph).action_items
    assert found == tuple(item for item in shown if not item.what.startswith("Verification found"))
    return found


def commands(project: Project) -> list[str]:
    return [command.text for item in items_of(project) for command in item.commands]


def turn(stores: Stores, *, off: bool) -> None:
    switch(
        stores.serving_root, "for_you", off=off, account=Account(name="somebody"), why="",
        clock=stores.clock, keys=stores.keys, ledger=stores.ledger,
    )  # fmt: skip


def test_status_and_console_show_the_same_items(project: Project) -> None:
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace("learn=tm.cooccurrence()", 'learn=tm.item_knn(),\n    refresh="1 day"'))
    assert commands(project) == ["tidemill run --backfill"]
    project.write("reviews-1.csv", daily(20))
    project.run(FIRST + 19 * DAY)
    assert commands(project) == ["tidemill train for_you"]
    stores, graph = project.open()
    release = train(stores, graph, "for_you").release
    assert commands(project) == ["tidemill promote for_you@1"]
    go_live(stores, graph, release.name)
    assert commands(project) == []

    turn(stores, off=True)
    assert commands(project) == ["tidemill on for_you"]
    turn(stores, off=False)
    (stores.serving_root / "for_you" / "live.json").write_bytes(b"{")
    assert commands(project) == ["tidemill run"]

    mill.write_text(mill.read_text().replace("tm.item_knn()", "tm.item_knn(neighbours=7)"))
    project.write("reviews-2.csv", daily(1, first=FIRST + 20 * DAY))
    project.run(FIRST + 20 * DAY)
    (item,) = items_of(project)
    assert "cannot be refreshed: the setting `neighbours` of for_you@1 differs from mill.py" in item.what
    retrained = train(*project.open(), "for_you").release
    assert commands(project) == ["tidemill train for_you", f"tidemill promote {retrained.name}"]
    project.open()[0].releases.promote(retrained.name)
    assert commands(project) == []


def test_a_held_day_is_an_item(project: Project) -> None:
    project.write("reviews-1.csv", daily(3))
    project.run(FIRST + 2 * DAY)
    project.write("reviews-2.csv", [(f"u{n}", f"i{n}", 40.0, FIRST + 3 * DAY) for n in range(30)])
    project.run(FIRST + 3 * DAY)
    held = next(item for item in items_of(project) if "is held" in item.what)
    assert [command.text.partition(" --")[2][:7] for command in held.commands] == ["replace", "accept "]


def test_damaged_files_of_the_project_are_items(project: Project) -> None:
    project.write("reviews-1.csv", daily(3))
    project.run(FIRST + 2 * DAY)
    state = project.path / ".tidemill"
    file = max((state / "latest" / "views").glob("for_you.items/*/rows.arrow"))
    file.write_bytes(file.read_bytes()[:-9])
    (state / "vault.sqlite").unlink()
    damaged = state / "log" / "predictions" / "damaged"
    damaged.mkdir(parents=True)
    (damaged / "bytes").touch()
    assert [item.what for item in items_of(project) if item.weight == "broken"] == [
        "The vault cannot be read",
        "The log of predictions was damaged on disk in 1 place",
        "Online values are damaged on disk (for_you.items)",
    ]
