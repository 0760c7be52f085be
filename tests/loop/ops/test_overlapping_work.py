"""Work that overlaps: days come in and champions change while models are trained; of each lease there is one holder."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest_loop import FIRST, Project, daily, new_project

from tidemill.core.errors import LeaseTaken
from tidemill.core.lease import live_lease, wait_for_lease
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.run import run
from tidemill.loop.training.train import train

DAY = timedelta(days=1)
#: Trains or runs in a process of its own, says when it has come to a step, and waits there for a line.
PROGRAM = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from conftest_loop import Project
from tidemill.core.clock import FixedClock
from tidemill.core.errors import TidemillError
from tidemill.loop.pipeline.run import run
from tidemill.loop.training.train import train

place, act, what, step = sys.argv[1:]

def progress(at, details):
    if at == step:
        print("there", flush=True)
        sys.stdin.readline()

stores, graph = Project(Path(place), FixedClock(datetime(2026, 11, 1, tzinfo=UTC))).open()
try:
    if act == "train":
        print(train(stores, graph, what, progress=progress).release.name, flush=True)
    else:
        print(run(stores, graph, until=date.fromisoformat(what), progress=progress).publications, flush=True)
except TidemillError as error:
    print(error.message, flush=True)
"""


@contextlib.contextmanager
def waiting(project: Project, act: str, what: str, step: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to a step of its work and waits there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(project.path), act, what, step],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def goes_on(process: subprocess.Popen[str]) -> str:
    """What a waiting process says at its end, once it may go on."""
    said, _ = process.communicate("\n", timeout=120)
    assert process.returncode == 0
    return said.strip()


def change(project: Project, old: str, new: str) -> None:
    file = project.path / "mill.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def shop(tmp_path: Path) -> Project:
    project = new_project(tmp_path)
    project.write("reviews-1.csv", daily(10))
    project.run(FIRST + 9 * DAY)
    return project


def new_day(project: Project, day: int) -> None:
    project.write(f"reviews-{day}.csv", daily(1, first=FIRST + (day - 1) * DAY))
    assert project.run(FIRST + (day - 1) * DAY).publications == 1


@pytest.mark.slow
def test_days_come_in_and_a_champion_changes_while_its_model_is_trained(tmp_path: Path) -> None:
    project = shop(tmp_path)
    settings = 'factors=0, spectral_share=0.0, damping=0.25, half_life="60 days", gap="100 days", backward=0.7,\n'
    settings += '        recency="30 days", popularity_share=0.2, popularity_half_life="30 days"'
    change(project, "learn=tm.cooccurrence()", f'learn=tm.cooccurrence({settings}),\n    refresh="1 day"')
    stores, graph = project.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    new_day(project, 11)
    version = stores.lake.view().versions["ratings"]
    with waiting(project, "train", "for_you", "learning") as training:
        assert str(training.pid) in (stores.leases.holder("train:for_you") or "")
        new_day(project, 12)
        new_day(project, 13)
        with wait_for_lease(stores.leases, live_lease("for_you")) as lease:
            assert stores.releases.rollback("for_you", lease).name == "for_you@3"
        assert stores.lake.view().versions["ratings"] == version + 2
        assert goes_on(training) == "for_you@5"
    made = stores.releases.get("for_you@5")
    assert made.data["ratings"] == version
    assert [release.number for release in stores.releases.all("for_you")] == [1, 2, 3, 4, 5]
    assert [release.card.refreshed is None for release in stores.releases.all("for_you")] == [True, *[False] * 3, True]
    assert stores.releases.champion("for_you") == stores.releases.get("for_you@3")
    assert {one.state for one in stores.runs.all("for_you")} == {"finished"}
    pointer = json.loads((stores.serving_root / "for_you" / "live.json").read_bytes())
    assert [arm["release"]["number"] for arm in pointer["arms"]] == [3]
    assert verify_project(stores.settings, stores.clock).problems == []


def test_two_models_are_trained_at_once_and_one_model_is_not_trained_twice(tmp_path: Path) -> None:
    project = shop(tmp_path)
    text = (project.path / "mill.py").read_text()
    block = text[text.index("for_you = mill.recommender(") :]
    (project.path / "mill.py").write_text(f"{text}\n\n{block.replace('for_you', 'for_two')}")
    stores, graph = project.open()
    with (
        waiting(project, "train", "for_you", "learning") as first,
        waiting(project, "train", "for_two", "learning") as second,
    ):
        with pytest.raises(LeaseTaken, match=f"`train:for_you` is held by process {first.pid}"):
            train(stores, graph, "for_you")
        assert {goes_on(first), goes_on(second)} == {"for_you@1", "for_two@1"}
    for release in ("for_you@1", "for_two@1"):
        stores.releases.verify(stores.releases.get(release))
    assert [path.name for path in stores.state.glob("learn-*")] == []
    assert verify_project(stores.settings, stores.clock).problems == []


def test_of_two_runs_at_once_the_second_is_refused_and_names_the_first(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    project.write("reviews-1.csv", daily(2))
    project.run(FIRST)
    stores, graph = project.open()
    with waiting(project, "run", str(FIRST + DAY), "due") as first:
        with pytest.raises(LeaseTaken, match=f"`lake` is held by process {first.pid} since"):
            run(stores, graph, until=FIRST + DAY)
        assert goes_on(first) == "1"
    assert run(stores, graph, until=FIRST + DAY).publications == 0


def test_a_killed_training_holds_nobody_up(tmp_path: Path) -> None:
    project = shop(tmp_path)
    with waiting(project, "train", "for_you", "learning"):
        pass  # and is killed
    stores, graph = project.open()
    assert stores.leases.holder("train:for_you") is None
    assert [one.state for one in stores.runs.all("for_you")] == ["stopped"]
    assert train(stores, graph, "for_you").release.name == "for_you@1"
    assert [one.state for one in stores.runs.all("for_you")] == ["finished", "stopped"]


def test_folders_of_another_models_training_are_left_alone(tmp_path: Path) -> None:
    project = shop(tmp_path)
    stores, graph = project.open()
    for name in ("learn-for_you@x1", "learn-for_you.2@x1", "learn-abcd1234"):
        (stores.state / name).mkdir()
    train(stores, graph, "for_you")
    assert [path.name for path in stores.state.glob("learn-*")] == ["learn-for_you.2@x1"]


def test_a_refresh_does_not_undo_what_somebody_did_meanwhile(tmp_path: Path) -> None:
    project = shop(tmp_path)
    settings = 'factors=0, spectral_share=0.0, damping=0.25, half_life="60 days", gap="100 days", backward=0.7,\n'
    settings += '        recency="30 days", popularity_share=0.2, popularity_half_life="30 days"'
    change(project, "learn=tm.cooccurrence()", f'learn=tm.cooccurrence({settings}),\n    refresh="1 day"')
    stores, graph = project.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    new_day(project, 11)
    project.write("reviews-12.csv", daily(1, first=FIRST + 11 * DAY))
    other, _ = project.open()

    def progress(what: str, details: object) -> None:
        if what == "counting":  # somebody rolls back while it is counted
            with wait_for_lease(other.leases, live_lease("for_you")) as lease:
                other.releases.rollback("for_you", lease)

    report = run(stores, graph, until=FIRST + 11 * DAY, progress=progress)
    assert report.refreshed == []
    assert "for_you@3 was not promoted: for_you@1 became the champion meanwhile" in report.notes
    assert stores.releases.get("for_you@champion").name == "for_you@1"
