"""The Magazine ratings as they come: the numbers, the last 240 days one by one, and a kill at every step."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import Project

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock
from tidemill.core.storage.failpoint import FAILPOINTS
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.ops.verify_project import verify_project

pytestmark = pytest.mark.slow

LAST = date(2018, 9, 19)
BACKFILLED = LAST - timedelta(days=240)
#: A stretch of twenty days in which one day's delivery is bad; of what was before, a project that is killed has a year.
STRETCH = [date(2018, 3, 1) + timedelta(days=day) for day in range(20)]
BAD = STRETCH[9]


def make(folder: Path, ratings: Path, items: Path, keys: Path) -> Project:
    write_project(folder, "shop")
    (folder / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{keys}"\nsearch = "exact"\n[laptop.sources]\n'
        'reviews = "file:data/reviews*?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
        'items = "file:data/items.json.gz"\n'
    )
    shutil.copy(ratings, folder / "data" / "reviews.csv.gz")
    shutil.copy(items, folder / "data" / "items.json.gz")
    return Project(folder, FixedClock(datetime(2018, 9, 20, tzinfo=UTC)))


def test_the_numbers_are_those_of_the_data(tmp_path: Path, magazine: Path, magazine_items: Path) -> None:
    project = make(tmp_path / "shop", magazine, magazine_items, tmp_path / "keys")
    project.run(BACKFILLED, backfill=True)  # everything up to there, declared
    started = time.process_time()
    report = project.run(LAST)
    stores, _ = project.open()
    view = stores.lake.view()
    assert report.increments == 240
    arrived = sum(state.increment.counts.arrived for state in stores.lake.increments("reviews"))
    contradicted = sum(state.increment.counts.contradicted for state in stores.lake.increments("reviews"))
    assert arrived == 89_689
    assert view.rows("reviews") == 88_467
    assert view.rows("ratings") == 88_318
    assert contradicted == 1
    assert report.held == []
    assert report.warnings > 0  # learned checks warn here and do not hold
    again = project.run(LAST)
    assert (again.increments, again.publications) == (0, 0)
    assert verify_project(stores.settings, stores.clock).problems == []
    assert stores.lake.verify() == []
    spent = [cost for cost in report.costs if cost[2]]
    early, late = spent[9], spent[-1]
    print(
        f"240 days one by one: {time.process_time() - started:.1f} CPU s, {report.warnings} warnings; "
        f"day 10 ({early[0]}): {early[2]} rows in, {early[3]:,} rows read, {early[4] / 1000:.0f} CPU ms; "
        f"day 240 ({late[0]}): {late[2]} rows in, {late[3]:,} rows read, {late[4] / 1000:.0f} CPU ms"
    )


def copied(project: Project, to: Path) -> Project:
    shutil.copytree(project.path, to, symlinks=True)
    return Project(to, project.clock)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, magazine: Path, magazine_items: Path) -> Project:
    """The project as it stands before the stretch, a bad delivery waiting in it."""
    base = tmp_path_factory.mktemp("stretch")
    since = datetime(2017, 3, 1, tzinfo=UTC).timestamp()
    with gzip.open(magazine, "rt") as lines:
        year = "".join(line for line in lines if float(line.rpartition(",")[2]) >= since)
    (base / "year.csv.gz").write_bytes(gzip.compress(year.encode()))
    project = make(base / "shop", base / "year.csv.gz", magazine_items, base / "keys")
    project.run(STRETCH[0] - timedelta(days=1), backfill=True)
    at = int(datetime(BAD.year, BAD.month, BAD.day, tzinfo=UTC).timestamp())
    lines = [f"B00005N7P0,BADUSER{n:03d},{n}.0,{at}\n" for n in range(6, 66)]
    (project.path / "data" / "reviews-bad.csv").write_text("".join(line * 2 for line in lines))
    return project


@pytest.fixture(scope="module")
def expected(before: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    project = copied(before, tmp_path_factory.mktemp("expected") / "shop")
    report = project.run(STRETCH[-1])
    assert len(report.held) == 1
    return content(project)


def content(project: Project) -> dict[str, Any]:
    """Everything that a rerun must give again: tables row for row, held rows, what answers look up."""
    stores, _ = project.open()
    view = stores.lake.view()
    tables = {
        name: view.arrow(name).sort_by([("_row", "ascending")]).to_pylist() for name in ("reviews", "ratings", "items")
    }
    states = [
        (state.increment.stream, state.increment.number, state.state, state.increment.commitment)
        for stream in ("reviews", "items")
        for state in stores.lake.increments(stream)
    ]
    held = [number for stream, number, state, _ in states if state == "held" and stream == "reviews"]
    return {
        "tables": tables,
        "states": states,
        "held": [
            opened_table(stores.vault, stores.lake.held("reviews", number).rows)[0].to_pylist() for number in held
        ],
        "views": {name: stores.latest.version(name) for name in ("taste", "facts", "for_you.history", "for_you.items")},
    }


def run_killed(project: Project, *, failpoint: str = "", after_s: float | None = None) -> int:
    """`tidemill run` in a process of its own, killed at a failpoint or after a while."""
    command = [str(Path(sys.executable).parent / "tidemill"), "run", "--until", str(STRETCH[-1]), "--project"]
    process = subprocess.Popen(
        [*command, str(project.path)],
        env={**os.environ, "TIDEMILL_FAILPOINT": failpoint},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if after_s is not None:
        time.sleep(after_s)
        process.kill()
    return process.wait(timeout=120)


#: The steps of a run; those of learning, promoting and logging are tried where they are made.
OF_A_RUN = [name for name in FAILPOINTS.values() if name.split(".")[0] in
            ("increment", "vault", "quarantine", "publish", "hold", "features", "source_state")]  # fmt: skip


@pytest.mark.parametrize("failpoint", [*OF_A_RUN, "publish.commit:7", "publish.ledger:12", "publish.done:19"])
def test_killed_at_a_failpoint_a_rerun_gives_the_same(
    before: Project, expected: dict[str, Any], tmp_path: Path, failpoint: str
) -> None:
    project = copied(before, tmp_path / "shop")
    assert run_killed(project, failpoint=failpoint) == -signal.SIGKILL, "the failpoint was never passed"
    project.run(STRETCH[-1])
    stores, _ = project.open()
    assert content(project) == expected
    assert verify_project(stores.settings, stores.clock).problems == []
    assert stores.lake.verify() == []


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_moment_a_rerun_gives_the_same(
    before: Project, expected: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    project = copied(before, tmp_path / "shop")
    run_killed(project, after_s=random.Random(seed).uniform(0.4, 3.5))
    project.run(STRETCH[-1])
    stores, _ = project.open()
    assert content(project) == expected
    assert verify_project(stores.settings, stores.clock).problems == []
    assert stores.lake.verify() == []
