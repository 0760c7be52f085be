"""A champion kept fresh is the model that would be learned that day; once, whatever kills a run, and only if it may."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily, new_project

import tidemill as tm
from tidemill.core.errors import BundleCorrupt, LakeError, SettingRefused
from tidemill.core.records.release import Release
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.families.recommender.settings_match import first_difference
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.pipeline.resolve_hold import accept_hold
from tidemill.loop.pipeline.run import run
from tidemill.loop.pipeline.run_plan import plan
from tidemill.loop.project.mill import Mill
from tidemill.loop.refresh import refresh_models
from tidemill.loop.refresh.count_store import count, store
from tidemill.loop.state.code_items import read_code_items
from tidemill.loop.state.project_status import status
from tidemill.loop.training.train import train
from tidemill.models import learn as learn_model
from tidemill.models import learner_of, write_recommender
from tidemill.models.learners.incremental_refresh import required_counts

DAY = timedelta(days=1)
LAST = FIRST + 9 * DAY
LEARN = (
    'tm.cooccurrence(factors=0, spectral_share=0.0, damping=0.25, half_life="60 days", gap="100 days", backward=0.7,\n'
    '        recency="30 days", popularity_share=0.2, popularity_half_life="30 days"),\n    refresh="1 day"'
)


def change(project: Project, old: str, new: str) -> None:
    file = project.path / "mill.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def ten_days(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Ten days in, learned and promoted, to be refreshed with each day."""
    project = new_project(tmp_path_factory.mktemp("ten-days"))
    change(project, "learn=tm.cooccurrence()", f"learn={LEARN}")
    project.write("reviews-1.csv", daily(10))
    project.run(LAST)
    stores, graph = project.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    return project


@pytest.fixture
def live(ten_days: Project, tmp_path: Path) -> Project:
    shutil.copytree(ten_days.path, tmp_path / "shop")
    project = Project(tmp_path / "shop", ten_days.clock)
    project.open()[0].releases.recover()
    return project


def champion(project: Project) -> Release:
    found = project.open()[0].releases.champion("for_you")
    assert found is not None
    return found


def learned_anew(project: Project, place: Path) -> dict[str, bytes]:
    """The files that learning writes, from all that is published and the champion's settings."""
    stores, graph = project.open()
    view, card = stores.lake.view(), champion(project).card
    events, ahead = LearningEvents.from_snapshot(graph, graph.mill.recommenders["for_you"], view).read()
    assert not ahead
    assert (card.n_rows, card.n_users, card.n_items) == (len(events), events.n_users, events.n_items)
    write_recommender(learn_model(learner_of(card.learner, card.parameters), events, view.as_of), place)
    return files(place)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "manifest.json"
    }


def bundle(project: Project, release: Release) -> dict[str, bytes]:
    return files(project.open()[0].releases.bundle(release.bundle))


def lines(project: Project, act: str) -> list[Any]:
    return project.open()[0].ledger.find(act, about="model:for_you")


def rows_of(day: date, seed: int) -> list[tuple[str, str, float, date]]:
    """A day with rows of its own, late rows, ratings that replace earlier ones, a new user and a new item."""
    rng = random.Random(seed)
    some = [(f"u{rng.randrange(30)}", f"i{rng.randrange(17)}", float(rng.randrange(1, 6)), day) for _ in range(12)]
    late = [(f"u{rng.randrange(30)}", f"i{rng.randrange(15)}", 3.0, FIRST + rng.randrange(9) * DAY) for _ in range(3)]
    return [*some, *late, (f"new{seed}", f"i{rng.randrange(15)}", 4.0, day), (f"new{seed}", f"fresh{seed}", 5.0, day)]


def test_each_day_leaves_the_model_that_would_be_learned_that_day(live: Project, tmp_path: Path) -> None:
    learned = champion(live)
    for n in range(1, 6):
        day = LAST + n * DAY
        live.write(f"reviews-day{n}.csv", rows_of(day, n))
        report = live.run(day)
        now = champion(live)
        assert report.refreshed == [now.name] == [f"for_you@{n + 1}"]
        whole = "for_you: counted from the whole table, because there are no stored counts"
        assert report.notes == ([whole] if n == 1 else [])
        assert bundle(live, now) == learned_anew(live, tmp_path / str(n))
        assert f"fresh{n}" in bundle(live, now)["items.arrow"].decode(errors="ignore")
        card = now.card
        assert card.refreshed is not None
        assert (card.refreshed.of, card.refreshed.as_of) == ("for_you@1", learned.card.as_of)
        assert (card.learned_at, card.evaluation) == (learned.card.learned_at, learned.card.evaluation)
        assert card.as_of > learned.card.as_of
        again = live.run(day)
        assert (again.refreshed, again.notes) == ([], [])
    stores, _ = live.open()
    assert len(lines(live, "refresh")) == 5
    last = lines(live, "refresh")[-1]
    version = stores.lake.view().versions["ratings"]
    assert list(last.refs_in) == [f"table:ratings@{version}", f"bundle:for_you@{learned.bundle}"]
    assert list(last.refs_out) == [f"bundle:for_you@{champion(live).bundle}"]
    assert verify_project(stores.settings, stores.clock).problems == []


def test_each_refresh_is_a_run(live: Project) -> None:
    for n in (1, 2):
        live.write(f"reviews-day{n}.csv", rows_of(LAST + n * DAY, n))
        live.run(LAST + n * DAY)
    live.run(LAST + 2 * DAY)  # nothing is due
    stores, _ = live.open()
    second, first, training = stores.runs.all("for_you")
    assert (training.kind, first.kind, second.kind) == ("train", "refresh", "refresh")
    now = champion(live)
    assert (second.state, second.learner, second.metrics, second.trials) == ("finished", "cooccurrence", {}, 0)
    assert second.artefacts == {"bundle": f"bundle:for_you@{now.bundle}", "release": f"release:{now.name}"}
    assert (second.data, second.as_of, second.code) == (dict(now.data), now.card.as_of, now.code)
    assert second.parameters == training.parameters
    assert second.cost is not None
    assert second.cost.wall_s > 0
    assert "for_you: counted from the whole table, because there are no stored counts" in first.notes
    assert len(second.notes) == 1  # the machine


def test_a_refresh_that_fails_is_a_run_that_failed(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))

    def fails(*_: Any) -> None:
        raise LakeError("the disk is full", tip="make room")

    monkeypatch.setattr(refresh_models, "count", fails)
    with pytest.raises(LakeError, match="the disk is full"):
        live.run(LAST + DAY)
    monkeypatch.undo()
    live.run(LAST + DAY)
    stores, _ = live.open()
    done, failed, _ = stores.runs.all("for_you")
    assert (failed.state, failed.says, failed.artefacts) == ("failed", "the disk is full", {})
    assert (done.state, champion(live).number) == ("finished", 2)


@pytest.mark.parametrize("damage", ["a byte", "a file"])
def test_a_damaged_bundle_is_not_refreshed_and_stops_no_day(live: Project, damage: str) -> None:
    stores, _ = live.open()
    file = stores.releases.bundle(champion(live).bundle) / "popularity.npy"
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    if damage == "a byte":
        file.write_bytes(content)
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    report = live.run(LAST + DAY)
    assert report.publications == 1 and report.refreshed == []
    assert any("for_you could not be refreshed: the bundle in" in note and "rollback" in note for note in report.notes)
    assert champion(live).number == 1
    content[-1] ^= 1
    file.write_bytes(content)
    assert live.run(LAST + DAY).refreshed == ["for_you@2"]


def test_a_day_is_counted_by_its_users_alone(live: Project) -> None:
    live.run(LAST + DAY)  # nothing has changed, so nothing is counted yet
    assert champion(live).number == 1
    live.write("reviews-2.csv", [("u3", "i4", 2.0, LAST + 2 * DAY)])
    live.run(LAST + 2 * DAY)
    live.write("reviews-3.csv", [("u5", "i9", 2.0, LAST + 3 * DAY), ("u6", "i2", 2.0, LAST + 3 * DAY)])
    stores, graph = live.open()
    told: list[dict[str, Any]] = []
    run(stores, graph, until=LAST + 3 * DAY, progress=lambda what, details: told.append({"what": what, **details}))
    (counting,) = [one for one in told if one["what"] == "counting"]
    assert counting["whole"] == ""
    assert 2 < counting["events"] < 20  # what these two have ever taken
    assert champion(live).card.n_rows > 80


def test_a_week_is_waited_for_and_nothing_is_refreshed_undeclared(live: Project) -> None:
    change(live, 'refresh="1 day"', 'refresh="7 days"')
    for n in range(1, 9):
        live.write(f"reviews-day{n}.csv", rows_of(LAST + n * DAY, n))
        report = live.run(LAST + n * DAY)
        assert bool(report.refreshed) is (n == 7), n
    assert champion(live).card.as_of < live.open()[0].lake.view().as_of
    change(live, ',\n    refresh="7 days"', "")
    live.write("reviews-late.csv", rows_of(LAST + 30 * DAY, 30))
    assert live.run(LAST + 30 * DAY).refreshed == []
    assert champion(live).number == 2


def test_many_days_at_once_are_one_refresh(live: Project, tmp_path: Path) -> None:
    for n in range(1, 6):
        live.write(f"reviews-day{n}.csv", rows_of(LAST + n * DAY, n))
    assert live.run(LAST + 5 * DAY).refreshed == ["for_you@2"]
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("damping=0.25", "damping=0.5", "the setting `damping` of for_you@1 differs from mill.py"),
        (
            "tm.cooccurrence(factors=0",
            "tm.item_knn(factors=0",
            "the setting `learner` of for_you@1 differs from mill.py",
        ),
        ("tm.trending(days=7)", "tm.trending(days=9)", "the rules of for_you@1 differ from mill.py"),
    ],
)
def test_other_settings_or_rules_are_not_refreshed_and_one_sentence_says_so(
    live: Project, old: str, new: str, says: str
) -> None:
    live.write("reviews-2.csv", rows_of(LAST + DAY, 1))
    if "item_knn" in new:
        change(live, ' damping=0.25, half_life="60 days", gap="100 days", backward=0.7,', "")
    change(live, old, new)
    report = live.run(LAST + DAY)
    assert (report.refreshed, lines(live, "refresh")) == ([], [])
    (note,) = report.notes
    assert note.startswith(f"for_you cannot be refreshed: {says}")
    stores, graph = live.open()
    (item,) = status(stores, graph).action_items
    (command,) = item.commands
    assert command.text == ("tidemill train for_you --rules-only" if "rules" in says else "tidemill train for_you")
    assert note == f"{item.what}: {command.text}"
    assert [one.item for one in read_code_items(stores.code_items_file)] == [item]  # the run left it for the console
    assert item.what in next(step.why for step in plan(stores, graph, None, stores.settings) if step.kind == "model")


def test_what_is_left_open_was_chosen_and_agrees() -> None:
    card = tm.cooccurrence(half_life="90 days", factors=16).settled()

    def other(spec: Any) -> str | None:
        return first_difference(spec, SimpleNamespace(learner="cooccurrence", parameters=card.settings()))  # type: ignore[arg-type]

    assert other(tm.cooccurrence()) is None
    assert other(tm.cooccurrence(half_life=tm.search("30 days", "365 days"), factors=tm.grid(8, 16))) is None
    assert other(tm.cooccurrence(half_life=tm.search("100 days", "365 days"))) == "half_life"
    assert other(tm.cooccurrence(factors=tm.grid(8, 32))) == "factors"
    assert other(tm.item_knn()) == "learner"
    assert other(tm.auto()) is None
    assert other(tm.auto(only=["item_knn"])) == "learner"


def test_a_model_of_which_nothing_is_counted_says_so(live: Project) -> None:
    change(live, LEARN, 'tm.spectral(factors=4, smoothing=3.0, recency="30 days"),\n    refresh="1 day"')
    stores, graph = live.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    live.write("reviews-2.csv", rows_of(LAST + DAY, 1))
    (note,) = live.run(LAST + DAY).notes
    assert "no part of spectral is computed from counts" in note


def test_vectors_beside_the_lists_stay(live: Project) -> None:
    change(live, "factors=0, spectral_share=0.0", "factors=4, spectral_share=0.3")
    stores, graph = live.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    before = bundle(live, champion(live))
    live.write("reviews-2.csv", rows_of(LAST + DAY, 1))
    assert live.run(LAST + DAY).refreshed == ["for_you@3"]
    after = bundle(live, champion(live))
    assert set(after) == set(before)
    assert len(after["parts/spectral/items.npy"]) > len(before["parts/spectral/items.npy"])


# ---- what a person did stays done


def test_what_was_taken_back_does_not_come_back_by_itself(live: Project, tmp_path: Path) -> None:
    for n in (1, 2):
        live.write(f"reviews-day{n}.csv", rows_of(LAST + n * DAY, n))
        live.run(LAST + n * DAY)
    live.open()[0].releases.rollback("for_you")
    assert champion(live).number == 2
    for n in (2, 3):  # the same day again, and another
        live.write(f"reviews-day{n}b.csv", rows_of(LAST + n * DAY, 10 + n))
        report = live.run(LAST + n * DAY)
        assert report.refreshed == []
    assert "for_you@3 was rolled back to for_you@2" in report.notes[0]
    assert champion(live).number == 2
    live.open()[0].releases.promote("for_you@3")
    live.write("reviews-day4.csv", rows_of(LAST + 4 * DAY, 4))
    assert live.run(LAST + 4 * DAY).refreshed == ["for_you@4"]
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


def test_of_two_trainings_the_one_that_was_rolled_back_to_is_refreshed(live: Project, tmp_path: Path) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    stores, graph = live.open()
    stores.releases.promote(train(stores, graph, "for_you", at=1_704_600_000_000_000).release.name)
    assert champion(live).card.refreshed is None
    stores.releases.rollback("for_you")
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    report = live.run(LAST + 2 * DAY)
    assert report.refreshed == ["for_you@4"]
    assert champion(live).card.refreshed.of == "for_you@1"  # type: ignore[union-attr]
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


def test_a_held_day_that_is_accepted_is_counted_with_the_next(live: Project, tmp_path: Path) -> None:
    live.write("reviews-bad.csv", [(f"b{n}", "i1", 99.0, LAST + DAY) for n in range(60)] + rows_of(LAST + DAY, 1))
    assert live.run(LAST + DAY).held
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    live.run(LAST + 2 * DAY)
    stores, graph = live.open()
    (held,) = [state.increment.number for state in stores.lake.increments("reviews") if state.state == "held"]
    accept_hold(stores, graph, "reviews", held, who="me", reason="to see")
    live.write("reviews-day3.csv", rows_of(LAST + 3 * DAY, 3))
    live.run(LAST + 3 * DAY)
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


def test_bundles_of_old_refreshes_go_and_what_was_learned_or_gone_back_to_stays(
    live: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_models, "KEPT", 2)

    def bring_in(n: int) -> None:
        live.write(f"reviews-day{n}.csv", rows_of(LAST + n * DAY, n))
        live.run(LAST + n * DAY)

    def there() -> set[int]:
        stores, _ = live.open()
        kept = stores.blobs.keys("bundle:")
        return {release.number for release in stores.releases.all("for_you") if f"bundle:{release.bundle}" in kept}

    for n in (1, 2):
        bring_in(n)
    live.open()[0].releases.rollback("for_you")
    live.open()[0].releases.promote("for_you@3")
    for n in (3, 4, 5, 6):
        bring_in(n)
    assert there() == {1, 2, 3, 6, 7}
    stores, _ = live.open()
    dropped = [name for line in lines(live, "drop") for name in line.refs_in]
    assert sorted(dropped) == sorted(f"bundle:for_you@{stores.releases.get(f'for_you@{n}').bundle}" for n in (4, 5))
    with pytest.raises(BundleCorrupt, match="is missing from the blobs"):
        stores.releases.promote("for_you@4")
    stores.releases.promote("for_you@2")
    assert verify_project(stores.settings, stores.clock).problems == []


# ---- what was kept may be lost


def _flip(folder: Path) -> None:
    file = max((file for file in folder.rglob("*.npy")), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def _cut(folder: Path) -> None:
    (folder / "counts.json").write_text("{")


@pytest.mark.parametrize("damage", [shutil.rmtree, _flip, _cut, lambda folder: (folder / "counts.json").unlink()])
def test_damaged_counts_are_made_anew_with_a_sentence(live: Project, tmp_path: Path, damage: Any) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    stores, _ = live.open()
    (kept,) = store(stores, "for_you").place.iterdir()
    damage(kept)
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    (note,) = live.run(LAST + 2 * DAY).notes
    assert note.startswith("for_you: counted from the whole table, because ")
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")
    (kept,) = store(stores, "for_you").place.iterdir()
    live.write("reviews-day3.csv", rows_of(LAST + 3 * DAY, 3))
    assert live.run(LAST + 3 * DAY).notes == []


def test_a_version_that_cannot_be_read_any_more_is_counted_anew(live: Project, tmp_path: Path) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    stores, _ = live.open()
    counted = stores.lake.view().versions["ratings"]
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    change(live, 'refresh="1 day"', 'refresh="2 days"')
    live.run(LAST + 2 * DAY)
    (live.path / ".tidemill" / "lake" / "_tidemill" / "manifests" / "ratings" / f"{counted}.json").unlink()
    live.write("reviews-day3.csv", rows_of(LAST + 3 * DAY, 3))
    (note,) = live.run(LAST + 3 * DAY).notes
    assert "cannot be determined: the manifest" in note
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


def test_counts_of_other_settings_are_not_taken_for_these(live: Project, tmp_path: Path) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    change(live, 'half_life="60 days"', 'half_life="6 days"')
    stores, graph = live.open()
    stores.releases.promote(train(stores, graph, "for_you").release.name)
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    (note,) = live.run(LAST + 2 * DAY).notes
    assert "other settings" in note
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")


def test_kept_counts_name_nobody(live: Project) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    stores, graph = live.open()
    events, _ = LearningEvents.from_snapshot(graph, graph.mill.recommenders["for_you"], stores.lake.view()).read()
    for file in (stores.state / "learning").rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not any(user.encode() in content for user in events.users)


# ---- killed


OF_A_REFRESH = [
    "bundle.written", "refresh.ledger", "counts.staged", "counts.written", "release.written", "release.ledger",
    "promote.ledger", "promote.pointer",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", OF_A_REFRESH)
def test_killed_at_a_failpoint_a_rerun_gives_the_same_once(live: Project, tmp_path: Path, failpoint: str) -> None:
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    live.write("reviews-day2.csv", rows_of(LAST + 2 * DAY, 2))
    command = [str(Path(sys.executable).parent / "tidemill"), "run", "--until", str(LAST + 2 * DAY), "--project"]
    killed = subprocess.run(
        [*command, str(live.path)],
        env={**os.environ, "TIDEMILL_FAILPOINT": failpoint},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    live.run(LAST + 2 * DAY)
    stores, graph = live.open()
    assert len(lines(live, "refresh")) == 2
    second = [run for run in stores.runs.all("for_you") if run.as_of == champion(live).card.as_of]
    left = "release:for_you@3"
    if failpoint.startswith("promote"):  # its release was made; nothing is done again
        assert [(run.state, run.artefacts["release"]) for run in second] == [("finished", left)]
    else:
        assert [run.state for run in second] == ["finished", "stopped"]
        assert second[0].artefacts["release"] == left
    assert [release.number for release in stores.releases.all("for_you")] == [1, 2, 3]
    assert [change.release for change in stores.releases.history("for_you")] == ["for_you@1", "for_you@2", "for_you@3"]
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "anew")
    assert not list(stores.state.glob("fresh-*"))
    assert verify_project(stores.settings, stores.clock).problems == []
    live.write("reviews-day3.csv", rows_of(LAST + 3 * DAY, 3))  # what was kept is whole
    live.run(LAST + 3 * DAY)
    assert bundle(live, champion(live)) == learned_anew(live, tmp_path / "next")
    assert [folder.name[:4] for folder in store(stores, "for_you").place.iterdir()] != ["new-"]
    spec = graph.mill.recommenders["for_you"].learn.settled()
    assert (
        count(stores, graph, graph.mill.recommenders["for_you"], stores.lake.view(), required_counts(spec)).whole == ""
    )


# ---- what is said


def test_plan_and_status_say_when_a_refresh_is_due(live: Project) -> None:
    def said() -> tuple[Any, Any]:
        stores, graph = live.open()
        (step,) = [step for step in plan(stores, graph, LAST, stores.settings) if step.kind == "model"]
        return step, status(stores, graph)

    step, now = said()
    assert step.why.startswith("for_you@1 is up to date with all published rows")
    assert now.models[0].refresh == "for_you@1 is up to date with all published rows"
    change(live, 'refresh="1 day"', 'refresh="3 days"')
    live.write("reviews-day1.csv", rows_of(LAST + DAY, 1))
    live.run(LAST + DAY)
    step, now = said()
    assert step.why.startswith(f"for_you@1 is as of {LAST + DAY}; its next refresh is due in 2 days")
    assert now.action_items == ()
    change(live, 'refresh="3 days"', 'refresh="1 day"')
    step, now = said()
    assert (step.do, step.why) == ("run", f"for_you@1 is as of {LAST + DAY}, 1 day behind: will be refreshed")
    assert [one.text for item in now.action_items for one in item.commands] == ["tidemill run"]


@pytest.mark.parametrize("length", ["12 hours", "0 days", "36 hours"])
def test_a_refresh_is_declared_in_whole_days(length: str) -> None:
    class Click(tm.Event):
        user_id: str = tm.subject()
        at: datetime = tm.event_time(zone="UTC")

    mill = Mill("m")
    clicks = mill.stream("clicks", Click, key="user_id")
    with pytest.raises(SettingRefused, match="is not a whole number of days"):
        mill.recommender("r", interactions=clicks, learn=tm.popularity(), slate=None, refresh=length)  # type: ignore[arg-type]
