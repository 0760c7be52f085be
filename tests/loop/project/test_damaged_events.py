"""Damaged posted events: a run sets them aside once, says so, and ingests all others in order, also when killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.clock import to_micros
from tidemill.core.records.posted_event import CheckedEvent, NamedPerson, encode_event, sealed_event
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.increment_history import refused
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.state.project_status import status

LAST = FIRST + timedelta(days=2)
NEXT = LAST + timedelta(days=1)
POSTED = 60


def post(project: Project, days: int = 1) -> Path:
    """One segment with events of the day after `LAST`, alternating with later days."""
    stores, _ = project.open()
    writer = PortOpener(stores.settings).events().writer("reviews")
    for i in range(POSTED):
        at = to_micros(datetime(2024, 1, 4 + i % days, 12, tzinfo=UTC) + timedelta(seconds=i))
        surrogate = stores.surrogates("user_id", f"web{i}")
        stores.vault.remember("user_id", [surrogate], [f"web{i}"])
        row = {"item_id": f"i{i % 15}", "rating": 5.0, "reviewed_at": at}
        event = CheckedEvent(received_at=at, row=row, people={"user_id": NamedPerson(surrogate, f"web{i}")})
        writer.write(encode_event(sealed_event(event, stores.vault.seal)))
    writer.close()
    (path,) = segment_files(stores.state / "events" / "reviews")
    return path


def damage(path: Path, *numbers: int) -> list[bytes]:
    """Flip a bit in the length of these frames, from 0; returns their bytes."""
    frames, content = list(read_frames(path)), bytearray(path.read_bytes())
    for number in numbers:
        content[frames[number].start] ^= 1
    path.write_bytes(content)
    return [bytes(content[frames[number].start : frames[number].end]) for number in numbers]


def posted(project: Project) -> list[str]:
    """The people of the rows that were posted, in order of arrival."""
    stores, _ = project.open()
    rows = project.rows("reviews")
    found = sorted((row["_row"], stores.vault.identity(row["user_id"])[1]) for row in rows)
    return [name for _, name in found if name.startswith("web")]


def begun(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(LAST)


def set_aside_once(project: Project, lost: list[bytes], numbers: tuple[int, ...]) -> None:
    stores, graph = project.open()
    assert posted(project) == [f"web{i}" for i in range(POSTED) if i not in numbers]
    assert [line.reason.split(":")[0] for line in refused(stores, graph, "reviews")] == ["damaged on disk"] * len(lost)
    quarantined = stores.lake.quarantined("reviews")
    assert quarantined is not None
    assert [stores.vault.unseal(raw) for raw in quarantined["raw"].to_pylist()] == lost
    counts = [state.increment.counts for state in stores.lake.increments("reviews")]
    assert sum(count.damaged for count in counts) == sum(count.refused for count in counts) == len(lost)
    (item,) = [item for item in status(stores, graph).action_items if "damaged" in item.what]
    assert item.what == f"{len(lost)} posted events of reviews damaged on disk" and item.weight == "broken"
    assert [command.text for command in item.commands] == ["tidemill check reviews --refused"]
    reports = verify_project(stores.settings, stores.clock).stores
    assert [one.store for one in reports if one.problems] == ["posted events"]  # the file stays as it is


def test_a_run_goes_on_behind_damaged_events_and_says_so(project: Project) -> None:
    begun(project)
    lost = damage(post(project), 7, 30)
    report = project.run(NEXT)
    assert (report.arrived, report.refused, report.damaged) == (POSTED, 2, 2)
    assert "reviews: 2 posted events damaged on disk; the bytes are in quarantine" in report.notes
    set_aside_once(project, lost, (7, 30))
    again = project.run(NEXT + timedelta(days=1))
    assert (again.arrived, again.damaged, again.notes) == (0, 0, [])
    set_aside_once(project, lost, (7, 30))
    for day in range(2, 9):
        project.run(NEXT + timedelta(days=day))
    stores, graph = project.open()
    assert not any("damaged" in item.what for item in status(stores, graph).action_items)


def test_damage_before_events_that_wait_for_their_day_shifts_none(project: Project) -> None:
    begun(project)
    path = post(project, days=3)
    assert project.run(NEXT).arrived == POSTED // 3
    lost = damage(path, 7, 8, 30)  # two of them in one place
    for day in (1, 2, 3):
        project.run(NEXT + timedelta(days=day))
    stores, _ = project.open()
    # web30 was ingested before its bytes were damaged
    assert sorted(posted(project)) == sorted(f"web{i}" for i in range(POSTED) if i not in (7, 8))
    quarantined = stores.lake.quarantined("reviews")
    assert quarantined is not None
    assert b"".join(map(stores.vault.unseal, quarantined["raw"].to_pylist())) == b"".join(lost)


@pytest.mark.parametrize("point", ["increment.read", "quarantine.written", "publish.intent", "publish.ledger"])
def test_killed_in_between_a_rerun_sets_them_aside_once(project: Project, point: str) -> None:
    begun(project)
    lost = damage(post(project), 7, 30)
    killed = subprocess.run(
        [str(Path(sys.executable).parent / "tidemill"), "run", "--until", str(NEXT)],
        cwd=project.path,
        env={**os.environ, "TIDEMILL_FAILPOINT": point},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    project.run(NEXT)
    set_aside_once(project, lost, (7, 30))
