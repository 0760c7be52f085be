"""Mistakes in a project and damage to its files: each is told in a sentence that names it; nothing half done stays."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.loop.conftest_loop import FIRST, Project

import tidemill as tm
from tidemill.core.errors import FunctionFailed, GraphError, SettingError, TypeMismatch, UnknownName
from tidemill.core.storage import failpoint
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.increment_history import refused
from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.pipeline.run_plan import plan
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.project import load_mill
from tidemill.loop.state.project_status import status

DAY = timedelta(days=1)


def good(day: date, n: int = 40) -> list[tuple[str, str, float, date]]:
    return [(f"u{i}", f"i{i % 7}", 4.0, day) for i in range(n)]


def mend(project: Project, old: str, new: str) -> None:
    file = project.path / "mill.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_function_that_fails_on_rows_is_named_and_nothing_of_the_increment_is_taken(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST))
    mend(project, "return reviews.unique(", 'return reviews.with_columns(x=nw.col("item_id").cast(nw.Int64)).unique(')
    with pytest.raises(FunctionFailed, match="table 'ratings' failed on the rows") as raised:
        project.run(FIRST)
    assert "i1" not in raised.value.message  # an engine's message quotes values; ours does not
    mend(project, '.with_columns(x=nw.col("item_id").cast(nw.Int64))', "")
    assert project.run(FIRST).merged == len(project.rows("ratings")) == 40


def test_a_promised_key_that_changes_its_type_is_refused(project: Project) -> None:
    """Its rows would never be found again by the keys that an increment touches."""
    mend(project, "return reviews.unique(", 'return reviews.with_columns(nw.col("item_id").cast(nw.Int64)).unique(')
    with pytest.raises(TypeMismatch, match="'item_id' is string in 'reviews' and int64 in 'ratings'"):
        project.open()


def test_a_feature_that_fails_leaves_the_tables_published(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST))
    mend(project, "n_ratings=nw.len()", 'n_ratings=nw.col("user_id").cast(nw.Int64).max()')
    with pytest.raises(FunctionFailed, match="features 'taste' failed"):
        project.run(FIRST)
    assert len(project.rows("ratings")) == 40


def test_a_stream_without_any_row_has_not_begun(project: Project) -> None:
    """Else a person who runs once before the files are there could never backfill."""
    project.write("reviews-1.csv", [])
    assert not any(stream == "reviews" for _, stream, *_ in project.run(FIRST + 3 * DAY).costs)
    project.write("reviews-1.csv", good(FIRST) + good(FIRST + DAY))
    report = project.run(FIRST + 3 * DAY, backfill=True)
    assert [(stream, n) for _, stream, n, *_ in report.costs if stream == "reviews"] == [("reviews", 80)]
    assert project.run(FIRST + 5 * DAY).increments == 2  # once begun, a day without rows is a day


def test_refused_lines_are_told_with_the_name_of_their_file(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST, 400))
    project.run(FIRST)
    project.write("reviews-2.csv", [*good(FIRST + DAY, 400), ("x", "i1", 99.0, FIRST + DAY)])
    with (project.path / "data" / "reviews-2.csv").open("a") as file:
        file.write("i1,y,many,1704153600\n")
    project.run(FIRST + DAY)
    stores, graph = project.open()
    told = [(one.file, one.line, one.column, one.state) for one in refused(stores, graph, "reviews")]
    assert told == [
        ("data/reviews-2.csv", 401, "rating", "published"),
        ("data/reviews-2.csv", 402, "rating", "published"),
    ]


def test_refused_lines_of_a_held_day_are_told_before_and_after_it_is_accepted(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST) + [(f"x{i}", "i1", 99.0, FIRST) for i in range(40)])
    assert project.run(FIRST).held == [("reviews", 1)]
    stores, graph = project.open()
    before = refused(stores, graph, "reviews")
    assert {(one.file, one.state) for one in before} == {("data/reviews-1.csv", "held")}
    accept_hold(stores, graph, "reviews", 1, who="me", reason="to see")
    after = refused(stores, graph, "reviews")
    assert {(one.file, one.state) for one in after} == {("data/reviews-1.csv", "published")}
    assert [one.line for one in after] == [one.line for one in before] == list(range(41, 81))


def test_a_source_of_no_stream_and_a_stream_without_source_are_told(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST))
    stores, graph = project.open()
    misspelt = msgspec.structs.replace(stores.settings, sources={"reviws": "file:x"}, origins={})
    with pytest.raises(SettingError, match=r"sources\.reviws") as raised:
        plan(None, graph, None, misspelt)
    assert raised.value.tip == "did you mean `reviews`?"
    none = msgspec.structs.replace(stores.settings, sources={}, origins={})
    assert {(step.do, step.what) for step in plan(None, graph, None, none) if step.kind == "stream"} == {
        ("wait", "reviews"),
        ("wait", "items"),
    }


def test_a_file_outside_the_project_is_read_only_from_a_declared_folder(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    project.write("reviews-1.csv", good(FIRST))
    (project.path / "data" / "reviews-1.csv").rename(outside / "reviews-1.csv")
    (project.path / "data" / "reviews-1.csv").symlink_to(outside / "reviews-1.csv")
    with pytest.raises(SettingError, match="outside the project"):
        project.run(FIRST)
    settings = project.path / "tidemill.toml"
    declared = f'[laptop]\nsource_roots = ["{outside}"]\n'
    settings.write_text(settings.read_text().replace("[laptop]\n", declared, 1))
    project.run(FIRST)
    assert len(project.rows("ratings")) == 40


def test_an_unknown_zone_is_refused_where_it_is_written() -> None:
    with pytest.raises(UnknownName, match="no time zone 'Mars/Base'"):
        tm.event_time(zone="Mars/Base")

    class Click(tm.Event):
        item_id: str = tm.item()
        at: datetime = tm.event_time(zone="America/New_York")

    with pytest.raises(UnknownName, match="no time zone 'Europe/Berln'") as raised:
        Mill("m").stream("clicks", Click, key="item_id", day_zone="Europe/Berln")
    assert raised.value.tip == "did you mean `Europe/Berlin`?"


@pytest.mark.parametrize("given", [{"interactions": "ratings"}, {"items": "items"}, {"features": ["taste"]}])
def test_a_recommender_of_names_in_quotes_is_refused(given: dict[str, object]) -> None:
    class Click(tm.Event):
        item_id: str = tm.item()
        at: datetime = tm.event_time(zone="UTC")

    mill = Mill("m")
    about = {"interactions": mill.stream("clicks", Click, key="item_id"), "learn": tm.popularity(), "slate": None}
    with pytest.raises(TypeMismatch, match=r"is neither a stream nor a table|is not a feature view"):
        mill.recommender("r", **(about | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["import sys\nsys.exit(0)", "\n1/0", "mill = ("])
def test_a_project_file_that_does_not_load_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "mill.py").write_text(text)
    with pytest.raises(GraphError, match="does not load"):
        load_mill(tmp_path)


def test_the_line_of_the_project_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "mill.py").write_text("\n\n1/0\n")
    with pytest.raises(GraphError, match=r"mill\.py, line 3 does not load: ZeroDivisionError"):
        load_mill(tmp_path)


@pytest.mark.parametrize("spec", ["publish.nowhere", "99", "4:x"])
def test_an_unknown_failpoint_is_a_setting_that_does_not_fit(spec: str) -> None:
    with pytest.raises(SettingError, match="unknown failpoint"):
        failpoint.arm(spec)
    failpoint.failpoint("publish.staged")  # and none is armed


def test_a_changed_ledger_line_is_a_finding_of_the_audit(project: Project) -> None:
    """Not an error on the way to it: the audit is what a person types when a line is wrong."""
    project.write("reviews-1.csv", good(FIRST))
    project.run(FIRST)
    with sqlite3.connect(project.path / ".tidemill" / "ledger.sqlite") as lines:
        for (trigger,) in lines.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            lines.execute(f"DROP TRIGGER {trigger}")
        ((seq, body),) = lines.execute("SELECT seq, body FROM lines WHERE act = 'publish' LIMIT 1").fetchall()
        lines.execute("UPDATE lines SET body = ? WHERE seq = ?", (body[:-3] + b"9" + body[-2:], seq))
    lines.close()
    stores, _ = project.open()
    assert any(
        problem.startswith(f"ledger: entry {seq}:")
        for problem in verify_project(stores.settings, stores.clock).problems
    )


def test_a_damaged_pointer_needs_a_person(project: Project) -> None:
    project.write("reviews-1.csv", good(FIRST))
    project.run(FIRST)
    stores, graph = project.open()
    assert not any("cannot be read" in item.what for item in status(stores, graph).action_items)
    folder = stores.serving_root / "for_you"
    folder.mkdir(parents=True)
    (folder / "live.json").write_text('{"bro')
    (item,) = [item for item in status(stores, graph).action_items if "cannot be read" in item.what]
    assert "live.json" in item.why[0]
    assert [command.text for command in item.commands] == ["tidemill run"]
