"""A run brings in what is due, once; what is bad is held; what is late belongs to the increment that brought it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import narwhals as nw
import pytest
from conftest_loop import FIRST, Project, daily, sorted_rows

from tidemill.core.clock import as_of
from tidemill.core.errors import CorruptFile, LeaseTaken, NoSuchIncrement
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.pipeline.resolve_hold import accept_hold, replace_hold
from tidemill.loop.pipeline.run import run
from tidemill.loop.training.train import train
from tidemill.serving import replayed, set_replay

LAST = FIRST + timedelta(days=9)


def test_days_come_one_by_one_and_a_second_run_adds_nothing(project: Project) -> None:
    project.write("reviews.csv.gz", daily(10))
    report = project.run(LAST)
    assert (report.increments, report.arrived) == (11, 135)  # ten days of reviews and the items
    ratings = project.rows("ratings")
    assert report.held == []
    again = project.run(LAST)
    assert (again.increments, again.publications, again.views) == (0, 0, [])
    assert project.rows("ratings") == ratings


def test_day_by_day_equals_all_at_once_equals_a_backfill(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Touched keys alone give what recomputing everything gives."""
    project.write("reviews.csv.gz", daily(10, users=8, items=6))
    for day in range(10):
        project.run(FIRST + timedelta(days=day))
    columns = ["user_id", "item_id", "rating", "reviewed_at", "_row"]
    grown = project.rows("ratings", columns)
    stores, graph = project.open()
    whole = graph.mill.tables["ratings"].function(stores.lake.view().scan("reviews"))
    assert sorted_rows(stores.engine.collect(whole.select(columns))) == grown
    assert len(grown) < 120  # keys came back, or nothing would have been tried


def test_a_wrong_promise_is_what_the_comparison_would_catch(project: Project) -> None:
    """The law above fails on a table whose rows depend on other keys than it promises."""
    mill = (project.path / "mill.py").read_text()
    wrong = mill.replace(
        '    return reviews.unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])',
        '    n = reviews.group_by("user_id", "item_id").agg(\n'
        '        reviewed_at=nw.col("reviewed_at").max(), rating=nw.col("rating").max(), _row=nw.col("_row").max(),\n'
        '        _known_at=nw.col("_known_at").max()\n'
        "    )\n"
        '    return n.with_columns(rating=nw.col("rating").mean())',
    )
    assert wrong != mill
    (project.path / "mill.py").write_text(wrong)
    project.write("reviews.csv.gz", daily(6, users=8, items=6))
    for day in range(6):
        project.run(FIRST + timedelta(days=day))
    stores, graph = project.open()
    whole = graph.mill.tables["ratings"].function(stores.lake.view().scan("reviews"))
    assert sorted_rows(stores.engine.collect(whole.select("rating"))) != project.rows("ratings", ["rating"])


def test_a_late_row_belongs_to_the_increment_that_brought_it(project: Project) -> None:
    project.write("reviews-1.csv", daily(3))
    project.run(FIRST + timedelta(days=2))
    project.write("reviews-2.csv", [("late", "i1", 5.0, FIRST)])
    project.run(FIRST + timedelta(days=3))
    late = [row for row in project.rows("reviews") if row["rating"] == 5.0 and row["_increment"] == 4]
    assert len(late) == 1
    assert late[0]["reviewed_at"].date() == FIRST
    assert late[0]["_known_at"].date() == FIRST + timedelta(days=4)  # the as-of of the day that brought it


def test_a_backfill_says_when_a_fact_counted_as_known(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    report = project.run(FIRST + timedelta(days=2), backfill=True)
    assert report.increments == 2
    for row in project.rows("reviews"):
        assert row["_known_at"] == row["reviewed_at"] + timedelta(days=1)


def test_a_file_that_grows_or_comes_twice_adds_only_what_is_new(project: Project) -> None:
    rows = daily(4)
    project.write("reviews.csv", rows[:30])
    project.run(FIRST + timedelta(days=2))
    project.write("reviews.csv", rows)
    assert project.run(FIRST + timedelta(days=3)).arrived == 18
    project.write("reviews-copy.csv", rows)
    assert project.run(FIRST + timedelta(days=4)).arrived == 0
    assert len(project.rows("reviews")) == len({(user, item, day) for user, item, _, day in rows})


def bad_day(project: Project) -> list[tuple[str, str, float, object]]:
    """Ten good days, of which the sixth has every third rating out of range and every row twice."""
    rows = daily(10)
    day = FIRST + timedelta(days=5)
    broken = [
        (user, item, rating + 20 if at == day and n % 3 == 0 else rating, at)
        for n, (user, item, rating, at) in enumerate(rows)
    ]
    project.write("reviews.csv", [row for row in broken for _ in range(2 if row[3] == day else 1)])
    return [row for row in rows if row[3] == day]


def test_a_bad_day_is_held_and_the_days_after_it_flow(project: Project) -> None:
    bad_day(project)
    report = project.run(LAST)
    assert report.held == [("reviews", 6)]
    stores, graph = project.open()
    days = {row["reviewed_at"].date() for row in project.rows("reviews")}
    assert FIRST + timedelta(days=5) not in days
    assert LAST in days
    for table in ("reviews", "ratings"):
        values = stores.engine.collect(stores.lake.view().scan(table).select(nw.col("rating").max()))
        assert values.to_pylist() == [{"rating": 5.0}]
    state = next(state for state in stores.lake.increments("reviews") if state.increment.number == 6)
    assert state.state == "held"
    checks = {failure.check for failure in state.verdict.failures}
    assert any("refused" in check for check in checks)
    assert any("repeated" in check for check in checks)
    for failure in state.verdict.failures:
        assert failure.n > 0
        assert failure.low is not None or failure.high is not None
    # what answers look up, and what a model learns, is made of the published rows and of nothing else
    published = stores.lake.view().arrow("ratings")
    items = stores.latest.take("for_you.items", [f"i{i}" for i in range(15)], ["n_all"])[0]
    assert sum(items["n_all"].to_pylist()) == published.num_rows
    histories = [stores.latest.get("for_you.history", user) for user in set(published["user_id"].to_pylist())]
    assert sum(len(history["items"]) for history in histories if history) == published.num_rows
    assert train(stores, graph, "for_you").card.n_rows == published.num_rows


def test_a_held_day_is_replaced_once(project: Project) -> None:
    good = bad_day(project)
    project.run(LAST)
    mended = project.write("mended.csv", good)  # type: ignore[arg-type]
    stores, graph = project.open()
    brought = replace_hold(stores, graph, "reviews", 6, mended, who="Ada")
    assert brought.publication is not None
    rows = [row for row in project.rows("reviews") if row["_increment"] == 6]
    assert len(rows) == 12
    assert len({row["_row"] for row in project.rows("reviews")}) == len(project.rows("reviews"))
    assert all(row["_known_at"].date() == LAST + timedelta(days=1) for row in rows)  # nobody had them before
    with pytest.raises(NoSuchIncrement, match="no longer held"):
        replace_hold(stores, graph, "reviews", 6, mended, who="Ada")
    assert project.run(LAST).increments == 0
    assert len([row for row in project.rows("reviews") if row["_increment"] == 6]) == 12


def test_a_held_day_is_accepted_by_a_person_with_a_reason(project: Project) -> None:
    project.write("reviews.csv", [row for row in daily(10) for _ in range(2 if row[3] == LAST else 1)])
    report = project.run(LAST)
    assert report.held == [("reviews", 10)]
    stores, graph = project.open()
    accept_hold(stores, graph, "reviews", 10, who="Ada", reason="the producer sent the file twice, the rows are right")
    line = stores.ledger.last("accept", "stream:reviews")
    assert line is not None
    assert (line.details["who"], line.details["number"]) == ("Ada", 10)
    assert len([row for row in project.rows("reviews") if row["_increment"] == 10]) == 12
    next_day = LAST + timedelta(days=1)
    project.write("reviews-next.csv", [("u1", "i1", 3.0, next_day)])
    assert project.run(next_day).arrived == 1  # what was settled does not come again


def test_a_replacement_that_is_bad_too_stays_held(project: Project) -> None:
    bad_day(project)
    project.run(LAST)
    worse = project.write("worse.csv", [("u1", "i1", 99.0, FIRST + timedelta(days=5))] * 20)
    stores, graph = project.open()
    assert replace_hold(stores, graph, "reviews", 6, worse, who="Ada").publication is None
    assert opened_table(stores.vault, stores.lake.held("reviews", 6).rows)[0].num_rows == 20


def test_changed_code_makes_the_table_again_and_a_changed_comment_does_not(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(FIRST + timedelta(days=2))
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace("# rows depend only", "# indeed, rows depend only"))
    assert project.run(FIRST + timedelta(days=2)).publications == 0
    mill.write_text(mill.read_text().replace('keep="last"', 'keep="first"'))
    assert project.run(FIRST + timedelta(days=2)).publications == 1
    stores, graph = project.open()
    whole = graph.mill.tables["ratings"].function(stores.lake.view().scan("reviews"))
    assert sorted_rows(stores.engine.collect(whole)) == project.rows("ratings")


def test_two_runs_at_once_are_refused_and_one_goes_on(project: Project) -> None:
    project.write("reviews.csv", daily(2))
    stores, graph = project.open()
    with stores.leases.take("lake"):
        other, _ = project.open()
        with pytest.raises(LeaseTaken):
            run(other, graph, until=FIRST)


def test_malformed_lines_go_to_quarantine_sealed_and_the_rest_flows(project: Project) -> None:
    rows = daily(3, per_day=100, users=97, items=89)
    file = project.write("reviews.csv", rows)
    with file.open("a") as more:
        more.write("i1,secret-person,not a number,1704067200\n")
    report = project.run(FIRST + timedelta(days=2))
    assert report.refused == 1
    stores, _ = project.open()
    kept = stores.lake.quarantined("reviews")
    assert kept is not None
    (row,) = kept.to_pylist()
    assert (row["line"], row["column"]) == (301, "rating")
    assert b"secret-person" not in row["raw"]
    assert b"secret-person" in stores.vault.unseal(row["raw"])


def test_changed_code_may_change_the_columns_and_older_versions_keep_theirs(project: Project) -> None:
    project.write("reviews.csv", daily(3))
    project.run(FIRST + timedelta(days=2))
    stores, _ = project.open()
    before = stores.lake.view()
    mill = project.path / "mill.py"
    mill.write_text(
        mill.read_text().replace(
            'order_by=["reviewed_at", "_row"])',
            'order_by=["reviewed_at", "_row"]).with_columns(kind=nw.col("rating") >= 4).drop("_increment")',
        )
    )
    project.write("reviews-more.csv", daily(1, first=FIRST + timedelta(days=3)))
    project.run(FIRST + timedelta(days=3))
    stores, graph = project.open()
    now = stores.lake.view()
    assert "kind" in now.schema("ratings").names
    assert "_increment" not in now.schema("ratings").names
    whole = graph.mill.tables["ratings"].function(now.scan("reviews"))
    assert sorted_rows(stores.engine.collect(whole)) == project.rows("ratings")
    again = stores.lake.view(publication=before.publication)
    assert "_increment" in again.schema("ratings").names
    assert again.arrow("ratings").num_rows == before.arrow("ratings").num_rows
    assert stores.lake.verify() == []


def test_a_replaying_server_is_moved_on_and_never_back(project: Project) -> None:
    project.write("reviews.csv", daily(4))
    stores, _ = project.open()
    project.run(FIRST)
    assert replayed(stores.serving_root) is None  # a server on the wall's time is left alone
    set_replay(stores.serving_root, as_of(FIRST))
    project.run(FIRST + timedelta(days=1))
    assert replayed(stores.serving_root) == as_of(FIRST + timedelta(days=1))
    set_replay(stores.serving_root, as_of(LAST))
    project.run(FIRST + timedelta(days=2))
    assert replayed(stores.serving_root) == as_of(LAST)


def test_a_flipped_byte_is_neither_learned_from_nor_written_again_under_a_new_hash(project: Project) -> None:
    project.write("reviews.csv", daily(4))
    project.run(LAST - timedelta(days=6))
    stores, graph = project.open()
    (file,) = [path for path in stores.lake.view().paths("ratings") if "ratings" in path][-1:]
    content = bytearray(Path(file).read_bytes())
    content[len(content) // 2] ^= 1
    Path(file).write_bytes(content)
    stores, graph = project.open()
    with pytest.raises(CorruptFile, match="differs from what was written"):
        train(stores, graph, "for_you")
    project.write("reviews-more.csv", [(user, item, 2.0, FIRST + timedelta(days=4)) for user, item, _, _ in daily(4)])
    with pytest.raises(CorruptFile, match="differs from what was written"):
        project.run(FIRST + timedelta(days=4))
    assert [problem for problem in stores.lake.verify() if Path(file).name in problem]


def test_a_held_day_accepted_after_the_code_changed_leaves_no_table_of_old_code(project: Project) -> None:
    rows = daily(10, users=8, items=6)  # keys come back, so that the first and the last rating differ
    project.write("reviews.csv", [row for row in rows for _ in range(2 if row[3] == LAST else 1)])
    assert project.run(LAST).held == [("reviews", 10)]
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace('keep="last"', 'keep="first"'))
    stores, graph = project.open()
    accept_hold(stores, graph, "reviews", 10, who="Ada", reason="the rows are right")
    stores, graph = project.open()
    whole = graph.mill.tables["ratings"].function(stores.lake.view().scan("reviews"))
    assert sorted_rows(stores.engine.collect(whole)) == project.rows("ratings")
