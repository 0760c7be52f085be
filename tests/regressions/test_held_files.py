"""A day that a wrong mapping or contract holds, and a file that comes too late: a run reads them, or says what does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from conftest_loop import FIRST, Project, new_project, seconds

from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.pipeline.run_plan import plan

DAY = timedelta(days=1)
RIGHT, WRONG = "item_id,user_id,_,rating,reviewed_at:unix_s", "item_id,user_id,rating,_,reviewed_at:unix_s"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = new_project(tmp_path)
    mapped(made, "item_id,user_id,rating,reviewed_at:unix_s", WRONG)
    rows = [f"i{n % 7},u{n},{n},{1 + n % 5},{seconds(FIRST + n % 2 * DAY)}\n" for n in range(40)]
    (made.path / "data" / "reviews-1.csv").write_text("".join(rows))
    return made


def mapped(project: Project, old: str, new: str) -> None:
    file = project.path / "tidemill.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(f"columns={old}", f"columns={new}"))


def test_held_rows_are_read_again_once_their_mapping_has_changed(project: Project) -> None:
    assert project.run(FIRST + DAY).held == [("reviews", 1), ("reviews", 2)]
    again = project.run(FIRST + DAY)
    assert again.arrived == 0 and again.still_held == [("reviews", 1), ("reviews", 2)]
    mapped(project, WRONG, RIGHT)
    stores, graph = project.open()
    (step,) = [one for one in plan(stores, graph, FIRST + DAY, stores.settings) if one.what == "reviews"]
    assert step.do == "run" and "2 held increments are read again" in step.why
    mended = project.run(FIRST + DAY)
    assert (mended.arrived, mended.merged, mended.held, mended.still_held) == (40, 40, [], [])
    assert len(project.rows("ratings")) == 40
    assert "reviews 1 was read again, because `columns=` or its contract has changed: it is published" in mended.notes
    states = [one.state for one in project.open()[0].lake.increments("reviews")]
    assert states == ["replaced", "replaced"]
    idle = project.run(FIRST + DAY)
    assert (idle.arrived, idle.notes, idle.still_held) == (0, [], [])


def test_held_rows_are_read_again_once_their_contract_has_changed(project: Project) -> None:
    mapped(project, WRONG, RIGHT)
    code = project.path / "mill.py"
    right = code.read_text()
    code.write_text(right.replace("ge=1, le=5", "ge=1, le=3"))
    assert len(project.run(FIRST + DAY).held) == 2
    code.write_text(right)
    assert project.run(FIRST + DAY).merged == 40


def test_held_rows_come_with_the_days_after_them(project: Project) -> None:
    """The files of later days and their numbers stay as they are."""
    project.run(FIRST + DAY)
    mapped(project, WRONG, RIGHT)
    later = [f"i{n % 7},v{n},{n},4,{seconds(FIRST + 2 * DAY)}\n" for n in range(40)]
    (project.path / "data" / "reviews-2.csv").write_text("".join(later))
    report = project.run(FIRST + 2 * DAY)
    assert (report.merged, report.held) == (80, [])
    rows = project.rows("reviews", ["_row", "_increment"])
    assert [sum(row["_increment"] == number for row in rows) for number in (1, 2, 3)] == [20, 20, 40]
    assert len({row["_row"] for row in rows}) == 80


def test_rows_that_are_still_wrong_are_held_again_and_not_read_without_a_change(project: Project) -> None:
    project.run(FIRST + DAY)
    mapped(project, WRONG, "item_id,user_id,rating,_,reviewed_at:unix_s&delimiter=%2C")
    assert project.run(FIRST + DAY).held == [("reviews", 1), ("reviews", 2)]
    report = project.run(FIRST + DAY)
    assert (report.held, report.notes) == ([], []) and len(report.still_held) == 2


def test_rows_that_are_gone_stay_held_and_can_be_accepted(project: Project) -> None:
    project.run(FIRST + DAY)
    mapped(project, WRONG, RIGHT)
    (project.path / "data" / "reviews-1.csv").unlink()
    report = project.run(FIRST + DAY)
    assert report.still_held == [("reviews", 1), ("reviews", 2)]
    assert "reviews 1 is held, and 20 of its rows are not in the files" in report.notes
    stores, graph = project.open()
    assert accept_hold(stores, graph, "reviews", 1, who="me", reason="to see").publication is not None


def test_a_file_of_a_day_that_is_done_is_named_with_the_command_that_brings_it_in(project: Project) -> None:
    mapped(project, WRONG, RIGHT)
    project.run(FIRST + DAY)
    (project.path / "data" / "reviews-0.csv").write_text(f"i1,late,0,4,{seconds(FIRST)}\n")
    report = project.run(FIRST + DAY)
    command = f"tidemill run --until {FIRST + 2 * DAY}"
    note = (
        f"data/reviews-0.csv has not been read yet: its rows up to {FIRST + DAY} come in with the next day: {command}"
    )
    assert note in report.notes
    assert project.run(FIRST + 2 * DAY).merged == 1
