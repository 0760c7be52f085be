"""Online values are derived: a run makes damaged ones again, says so, and a person's answers are as before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.records.posted_event import CheckedEvent, NamedPerson, encode_event, sealed_event
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.state.project_status import status
from tidemill.serving import RecentEvents, recent_view

LAST = FIRST + timedelta(days=9)


def flip(name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        file = max(root.glob(f"views/for_you.history/*/{name}"))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)

    return damage


def cut(root: Path) -> None:
    file = root / "fresh" / "data.mdb"
    file.write_bytes(file.read_bytes()[:-4096])


def empty(root: Path) -> None:
    (root / "fresh" / "data.mdb").write_bytes(b"")


def remove(root: Path) -> None:
    (root / "fresh" / "data.mdb").unlink()


def post(project: Project, user: str, item: str) -> None:
    """One event as the server accepts it: in the event log, and in the person's recent events."""
    stores, graph = project.open()
    stream = graph.mill.streams["reviews"]
    surrogate = stores.surrogates("user_id", user)
    person = NamedPerson(surrogate, user)
    at = int(project.clock.now().timestamp() * 1e6)
    row: dict[str, Any] = {"item_id": item, "rating": 5.0, "reviewed_at": at}
    event = CheckedEvent(received_at=at, row=row, people={"user_id": person})
    stores.vault.found_or_made({surrogate: ("user_id", user)})
    writer = PortOpener(stores.settings).events().writer("reviews")
    asyncio.run(writer.append(encode_event(sealed_event(event, stores.vault.seal))))
    writer.close()
    RecentEvents(stores.latest, "reviews", stream.contract, graph.fed_models("reviews")).add([event])


def online(project: Project) -> dict[str, Any]:
    stores, _ = project.open()
    views = ["facts", "for_you.history", "for_you.items", recent_view("reviews")]
    return {view: {key: stores.latest.get(view, key) for key in stores.latest.keys(view)} for view in views}


@pytest.mark.parametrize("damage", [flip("records.bin"), flip("rows.arrow"), flip("slots.bin"), cut, empty, remove])
def test_a_run_makes_damaged_online_values_again(project: Project, damage: Callable[[Path], None]) -> None:
    project.write("reviews.csv", daily(10))
    project.run(LAST, backfill=True)
    post(project, "u1", "i3")
    before = online(project)
    assert before["reviews.recent"] and before["for_you.history"]
    stores, graph = project.open()
    assert verify_project(stores.settings, stores.clock).problems == []
    damage(project.path / ".tidemill" / "latest")
    stores, graph = project.open()
    assert [item.what for item in status(stores, graph).action_items if item.weight == "broken"]
    problems = verify_project(stores.settings, stores.clock).stores
    assert [one.store for one in problems if one.problems] == ["online values"]
    assert all(problem.derived for one in problems for problem in one.problems)
    report = project.run(LAST)
    assert [note for note in report.notes if "made again" in note]
    assert online(project) == before
    stores, graph = project.open()
    assert not [item for item in status(stores, graph).action_items if item.weight == "broken"]
    assert verify_project(stores.settings, stores.clock).problems == []
    assert project.run(LAST).notes == []
