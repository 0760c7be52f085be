"""A training is a run: what it was given, its figures, what it left; and one that was killed is gone on with."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest_loop import FIRST, Project, daily
from rich.console import Console

from tidemill.cli.commands.train_command import show
from tidemill.core.errors import TooLittleData
from tidemill.core.records.runs import Trial
from tidemill.loop.families.recommender import recommender_training
from tidemill.loop.notebook.compare_runs import compare_runs
from tidemill.loop.project.stores import Stores
from tidemill.loop.provenance.provenance import collect_provenance
from tidemill.loop.training.run_tracking import figures_of
from tidemill.loop.training.train import TrainingResult, train
from tidemill.training import PerUnitMetrics

LAST = FIRST + timedelta(days=29)


def knn(neighbours: int | str) -> str:
    """A learner of which everything is settled but what is asked for."""
    return (
        f"tm.item_knn(neighbours={neighbours}, popularity_share=0.2, popularity_half_life='30 days', "
        "recency='30 days', spectral_share=0.0, factors=0)"
    )


def learned(project: Project, *, learner: str | None = None, **more: Any) -> tuple[Stores, TrainingResult]:
    """Learn `for_you`, with another learner in mill.py where one is given."""
    if learner is not None:
        mill = project.path / "mill.py"
        lines = mill.read_text().split("\n")
        lines = [f"    learn={learner}," if line.strip().startswith("learn=") else line for line in lines]
        mill.write_text("\n".join(lines))
    stores, graph = project.open()
    return stores, train(stores, graph, "for_you", **more)


@pytest.fixture
def shop(project: Project) -> Project:
    """Thirty days, published."""
    project.write("reviews.csv.gz", daily(30, per_day=20, users=60, items=15))
    project.run(LAST, backfill=True)
    return project


def test_a_training_is_a_run_with_its_figures_and_what_it_left(shop: Project) -> None:
    told: list[str] = []
    stores, left = learned(shop, learner=knn(30), progress=lambda step, figures: told.append(step))
    run = stores.runs.read("for_you#1")
    assert left.run == "for_you#1"
    assert (run.kind, run.state, run.learner) == ("train", "finished", "item_knn")
    assert run.parameters == left.card.parameters
    assert run.data == left.card.data
    assert run.as_of == left.card.as_of
    assert run.code == left.release.code
    assert run.environment == left.release.environment == collect_provenance(shop.path).environment
    assert run.artefacts["release"] == f"release:{left.release.name}"
    assert run.artefacts["bundle"] == f"bundle:for_you@{left.release.bundle}"
    assert run.cost is not None
    assert run.cost.cpu_s > 0
    assert "cores of" in run.notes[0]
    assert left.card.evaluation is not None
    warm = next(part for part in left.card.evaluation.slices if part.users == "warm")
    assert run.metrics["hit_rate@10[warm]"] == warm.model["hit_rate@10"]
    assert run.metrics["difference hit_rate@10[warm]"] == warm.difference["hit_rate@10"]
    assert "evaluate" in told
    names = {point.name for point in stores.runs.points(run.name)}
    assert "evaluate.users" in names
    line = stores.ledger.last("learn", "model:for_you")
    assert line is not None
    assert line.details["run"] == "for_you#1"


def test_the_figures_of_users_are_those_behind_the_metrics_and_name_nobody(shop: Project) -> None:
    stores, _ = learned(shop, learner=knn(30))
    run = stores.runs.read("for_you#1")
    figures = figures_of(stores, run)
    assert isinstance(figures, PerUnitMetrics)
    for name, values in figures.values.items():
        assert values.mean() == pytest.approx(run.metrics[f"{name}[all]"].value, abs=1e-6)
        warm = values[figures.groups["warm"]]
        assert warm.mean() == pytest.approx(run.metrics[f"{name}[warm]"].value, abs=1e-6)
    folder = Path(stores.blobs.folder("figures:" + run.artefacts["figures"].rpartition("@")[2]))
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    users = stores.lake.view().arrow("ratings", columns=["user_id"])["user_id"].to_pylist()
    assert users
    assert not any(user.encode() in content for user in set(users))
    values = folder / "figures.npy"
    array = np.load(values)
    array[0, 0] = 1 - array[0, 0]
    values.chmod(0o600)
    np.save(values, array)
    assert "cannot be read" in figures_of(stores, run)  # what was changed is not believed


def test_what_is_not_learned_again_is_no_run(shop: Project) -> None:
    learned(shop, learner=knn(30))
    stores, again = learned(shop)
    assert (again.anew, again.run) == (False, "")
    assert len(stores.runs.all()) == 1


def test_two_trainings_are_compared_on_the_same_users(shop: Project) -> None:
    learned(shop, learner=knn(30))
    stores, _ = learned(shop, learner=knn(1))
    found = compare_runs(stores, ["for_you#1", "for_you#2"])
    assert [row.values for row in found.differs if row.what == "parameters.neighbours"] == [(30, 1)]
    assert {row.what for row in found.differs} <= {"parameters.neighbours", "code"}
    assert found.unpaired == ()
    one, two = stores.runs.read("for_you#1"), stores.runs.read("for_you#2")
    name = "hit_rate@10[warm]"
    pair = next(pair for pair in found.paired if pair.measure == name)
    assert pair.difference.value == pytest.approx(two.metrics[name].value - one.metrics[name].value, abs=1e-6)


def test_trainings_on_other_days_are_not_paired(shop: Project) -> None:
    learned(shop, learner=knn(30))
    shop.write("reviews-more.csv", daily(2, users=10, first=LAST + timedelta(days=1)))
    shop.run(LAST + timedelta(days=2))
    stores, _ = learned(shop)
    found = compare_runs(stores, ["for_you#1", "for_you#2"])
    assert found.paired == ()
    assert "evaluated on different users" in found.unpaired[0]
    assert "ratings had different versions" in found.unpaired[0]


def test_a_learning_that_fails_ends_its_run_as_failed(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: Any, **more: Any) -> None:
        raise TooLittleData("there is nothing to see")

    monkeypatch.setattr(recommender_training, "train_recommender", fails)
    with pytest.raises(TooLittleData):
        learned(shop)
    stores, _ = shop.open()
    assert [(run.state, run.says) for run in stores.runs.all()] == [("failed", "there is nothing to see")]


def test_trials_of_a_choice_are_kept_with_the_run(shop: Project) -> None:
    stores, left = learned(shop, learner=knn("tm.grid(7, 30, 1)"))
    run = stores.runs.read("for_you#1")
    trials = stores.runs.trials(run.name)
    assert run.kind == "search"
    assert [trial.number for trial in trials] == list(range(run.trials))
    assert {trial.parameters.get("neighbours") for trial in trials} >= {7, 30, 1}
    assert run.best is not None
    best = next(trial for trial in trials if trial.number == run.best)
    assert best.parameters.items() <= run.parameters.items()
    assert run.parameters == left.card.parameters


def test_what_each_learner_was_worth_comes_with_the_training(shop: Project) -> None:
    _, left = learned(shop, learner="tm.auto(minutes=1, only=['popularity', 'item_knn'])")
    assert [trial.parameters["learner"] for trial in left.verdicts] == ["popularity", "item_knn"]
    assert all(trial.value is not None and trial.cpu_s > 0 for trial in left.verdicts)
    out = io.StringIO()
    show(Console(file=out, width=160), left)
    printed = out.getvalue()
    assert f"{left.verdicts[1].value:.4f}" in printed
    assert "selected: the simplest learner" in printed


def test_trials_of_a_stopped_run_are_gone_on_with(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, seen = recommender_training.train_recommender, []

    def killed(*given: Any, effort: Any, **more: Any) -> Any:
        effort.keep(Trial(number=0, parameters={"neighbours": 7}, state="finished", value=0.5, steps=(0.5,)))
        effort.keep(Trial(number=1, parameters={"neighbours": 30}, state="late", value=None))
        raise KeyboardInterrupt

    def watched(*given: Any, effort: Any, **more: Any) -> Any:
        seen.extend(effort.known)
        return fit(*given, effort=replace(effort), **more)

    monkeypatch.setattr(recommender_training, "train_recommender", killed)
    with pytest.raises(KeyboardInterrupt):
        learned(shop, learner=knn("tm.grid(7, 30, 1)"))
    monkeypatch.setattr(recommender_training, "train_recommender", watched)
    stores, _ = learned(shop)
    assert [trial.number for trial in seen] == [0]
    run = stores.runs.read("for_you#2")
    trials = stores.runs.trials(run.name)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert trials[0].value == 0.5  # as it was kept, not done again
    assert trials[1].state == "finished"  # what was late was tried again
    assert any("resumes with 1 trials of for_you#1, which" in note for note in run.notes)


@pytest.mark.slow
def test_a_training_killed_by_the_kernel_is_told_as_stopped_and_done_again(shop: Project) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from datetime import UTC, datetime
from pathlib import Path
from conftest_loop import Project
from tidemill.core.clock import FixedClock
from tidemill.loop.training.train import train
stores, graph = Project(Path({str(shop.path)!r}), FixedClock(datetime(2026, 11, 1, tzinfo=UTC))).open()
def progress(step, figures):
    print(step, flush=True)
    if step == "evaluate":
        import time; time.sleep(60)
train(stores, graph, "for_you", progress=progress)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    deadline = time.monotonic() + 60
    while child.stdout.readline() != "evaluate\n":
        assert time.monotonic() < deadline
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    stores, _ = shop.open()
    assert [(run.name, run.state) for run in stores.runs.all()] == [("for_you#1", "stopped")]
    stores, left = learned(shop)
    assert left.run == "for_you#2"
    assert [run.state for run in stores.runs.all()] == ["finished", "stopped"]


def test_the_checkout_is_told_with_the_run(tmp_path: Path) -> None:
    assert collect_provenance(tmp_path).commit is None

    def git(*words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "mill.py").write_text("one")
    git("add", ".")
    git("commit", "-qm", "one")
    found = collect_provenance(tmp_path)
    assert (found.commit, found.changed) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "mill.py").write_text("two")
    assert collect_provenance(tmp_path).changed
