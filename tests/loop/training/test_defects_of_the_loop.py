"""What the reference system got wrong in its loop, each with a wrong variant that the same test catches."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import CardIncomplete, NoSuchRelease
from tidemill.core.records.quality import Evaluation
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.training.train import train
from tidemill.release import open_arm, read_deployment

LAST = FIRST + timedelta(days=3)


def test_defect_1_a_midnight_review_also_lands_on_the_day_before(project: Project) -> None:
    """Both ends included, or local time: a review at midnight is counted on two days."""
    project.write("reviews.csv", [("u1", "i1", 4.0, FIRST), ("u2", "i2", 4.0, FIRST + timedelta(days=1))])

    def counted_once(rows_of_day: Callable[[int], int]) -> bool:
        return [rows_of_day(0), rows_of_day(1)] == [1, 1]

    project.run(FIRST + timedelta(days=1))
    stores, _ = project.open()
    arrived = {state.increment.day: state.increment.counts.arrived for state in stores.lake.increments("reviews")}
    times = [row["reviewed_at"] for row in project.rows("reviews")]

    def both_ends(day: int) -> int:
        start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
        return sum(start <= at <= start + timedelta(days=1) for at in times)

    assert counted_once(lambda day: arrived[FIRST + timedelta(days=day)])
    assert not counted_once(both_ends)


def test_defect_2_a_day_brought_in_twice_doubles_its_rows(project: Project) -> None:
    rows = daily(4)
    project.write("reviews.csv", rows)
    project.run(LAST)
    once = project.rows("reviews")
    project.write("reviews-again.csv", [*rows[:-1], ("new", "i1", 1.0, LAST)])  # not the same file, the same days
    project.run(LAST + timedelta(days=1))

    def doubled(after: list[Any]) -> bool:
        return len(after) > len(once) + 1

    assert not doubled(project.rows("reviews"))
    assert doubled(once + once[:-1])  # a plain append


def test_defect_3_checks_run_after_the_write_and_stop_nothing(project: Project) -> None:
    good = daily(4)
    bad = [(user, item, 50.0, day) if day == LAST else (user, item, rating, day) for user, item, rating, day in good]
    project.write("reviews.csv", bad)
    report = project.run(LAST)
    stores, _ = project.open()

    def stopped(rows: pa.Table) -> bool:
        days = {at.date() for at in rows["reviewed_at"].to_pylist()}
        return LAST not in days

    view = stores.lake.view()
    assert report.held == [("reviews", 4)]
    assert stopped(view.arrow("reviews"))
    assert stopped(view.arrow("ratings"))
    held, _ = opened_table(stores.vault, stores.lake.held("reviews", 4).rows)
    written_first = pa.concat_tables([view.arrow("reviews").select(["reviewed_at"]), held.select(["reviewed_at"])])
    assert not stopped(written_first)


def learned(project: Project) -> Any:
    project.write("reviews.csv.gz", daily(40, per_day=40, users=60, items=15))
    project.run(FIRST + timedelta(days=39))
    stores, graph = project.open()
    return stores, graph, train(stores, graph, "for_you")


def test_defect_4_no_evaluation_at_all(project: Project) -> None:
    _, _, result = learned(project)

    def evaluated(evaluation: Evaluation | None) -> bool:
        return evaluation is not None and all(
            part.n_users > 0 and part.model and part.baseline and set(part.difference) == set(part.model)
            for part in evaluation.slices
        )

    assert evaluated(result.card.evaluation)
    assert "popularity" in result.card.evaluation.baseline
    assert not evaluated(None)


def test_defect_11_one_path_is_overwritten_and_there_is_no_way_back(project: Project, tmp_path: Path) -> None:
    stores, graph, first = learned(project)
    bundle = stores.releases.bundle(first.release.bundle)
    content = {path.name: path.read_bytes() for path in sorted(bundle.rglob("*")) if path.is_file()}
    stores.releases.promote(first.release.name)
    project.write("reviews-more.csv", daily(2, users=9, first=FIRST + timedelta(days=40)))
    project.run(FIRST + timedelta(days=41))
    stores, graph = project.open()
    second = train(stores, graph, "for_you")
    stores.releases.promote(second.release.name)

    def can_go_back(kept: Path) -> bool:
        return content == {path.name: path.read_bytes() for path in sorted(kept.rglob("*")) if path.is_file()}

    assert second.release.bundle != first.release.bundle
    assert stores.releases.rollback("for_you").name == first.release.name
    live = read_deployment(stores.serving_root, "for_you", stores.keys.public)
    assert live is not None
    assert live.champion.release.name == first.release.name
    assert can_go_back(Path(open_arm(live, live.champion, stores.blobs).bundle))
    overwritten = tmp_path / "latest"  # the wrong variant: one folder, written over by each training
    shutil.copytree(stores.releases.bundle(first.release.bundle), overwritten)
    shutil.copytree(stores.releases.bundle(second.release.bundle), overwritten, dirs_exist_ok=True)
    assert not can_go_back(overwritten)
    with pytest.raises(NoSuchRelease):
        stores.releases.rollback("for_you")


def test_learning_again_from_the_same_rows_takes_the_same_bundle(project: Project) -> None:
    stores, graph, first = learned(project)
    again = train(stores, graph, "for_you")
    assert not again.anew
    assert again.release.name == first.release.name


def test_nothing_is_learned_before_somebody_says_who_could_be_harmed(project: Project) -> None:
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace("Narrow choice; crowding out small makers.", " "))
    project.write("reviews.csv.gz", daily(4))
    project.run(LAST)
    stores, graph = project.open()
    with pytest.raises(CardIncomplete):
        train(stores, graph, "for_you")
    assert stores.ledger.find("learn") == []
