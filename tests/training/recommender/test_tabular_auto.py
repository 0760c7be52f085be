"""AutoML for tables: the simplest on a tie, the deadline from outside, the same bits again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tabular_rows import made, mixed

from tidemill.core.errors import TooLittleData
from tidemill.core.records.signature import Task
from tidemill.training.tabular.automl.auto_plan import AutoPlan, plan_from
from tidemill.training.tabular.automl.auto_process import FitJob, fit_members
from tidemill.training.tabular.automl.automl import TabularChoice, choose_tabular
from tidemill.training.tabular.automl.member_settings import Curves, Leafwise, Symmetric


def silent(step: str, figures: dict[str, Any]) -> None:
    """Tells nobody."""


def choice_of(rows: Any, place: Path, **more: Any) -> TabularChoice:
    asked: dict[str, Any] = {"minutes": None, "seed": 0, "place": place, "progress": silent} | more
    return choose_tabular(rows, **asked)


def test_noise_leaves_the_baseline(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = made({"x": rng.normal(size=200), "y": rng.normal(size=200)}, rng.random(200) < 0.3, "binary")
    choice = choice_of(rows, tmp_path)
    assert choice.plan.name == "prior"
    assert {one.state for one in choice.members} == {"chosen", "not selected"}


@pytest.mark.slow
def test_a_sum_of_curves_stays_where_trees_are_no_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 600))
    rows = made({"x": x, "z": z}, rng.random(600) < 1 / (1 + np.exp(-2 * x - z)), "binary")
    assert choice_of(rows, tmp_path).plan.name == "additive"


def test_two_inputs_that_act_together_ask_for_trees(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 600))
    rows = made({"x": x, "z": z}, (x * z > 0) ^ (rng.random(600) < 0.05), "binary")
    choice = choice_of(rows, tmp_path)
    assert isinstance(choice.plan, AutoPlan)
    assert any(not isinstance(one, Curves) for one in choice.plan.members)
    assert choice.baseline.name == "prior"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classes", "number", "count"])
def test_every_task_is_learned_and_beats_its_baseline(task: Task, tmp_path: Path) -> None:
    rows = mixed(task, 300)
    choice = choice_of(rows, tmp_path)
    kept = {one.name: one.score.value for one in choice.members if one.score}
    assert kept[choice.plan.name if choice.plan.name in kept else "stack"] < kept[choice.baseline.name]
    answer = choice.plan.fit(rows, seed=0).answer(rows.inputs)
    assert len(answer) == 300
    assert np.isfinite(answer).all()


def test_the_same_rows_and_seed_give_the_same_plan_and_the_same_bits(tmp_path: Path) -> None:
    rows = mixed("binary", 300)
    first, second = choice_of(rows, tmp_path / "a"), choice_of(rows, tmp_path / "b", processes=2)
    assert first.plan == second.plan
    again = plan_from(json.loads(json.dumps(first.plan.settings())))
    assert again == first.plan
    assert plan_from(first.baseline.settings()) == first.baseline
    models = [plan.fit(rows, seed=0) for plan in (first.plan, again)]
    assert models[0].recipe == models[1].recipe
    assert [np.asarray(one).tobytes() for one in models[0].parts.values()] == [
        np.asarray(one).tobytes() for one in models[1].parts.values()
    ]


def test_nothing_in_time_leaves_the_baseline_and_says_so(tmp_path: Path) -> None:
    choice = choice_of(mixed("number", 300), tmp_path, seconds=0.0)
    assert choice.plan == choice.baseline
    assert {one.state for one in choice.members} == {"chosen", "late"}
    assert all(one.score is None for one in choice.members if one.state == "late")
    assert any("nothing was fitted in time" in note for note in choice.notes)


def test_a_member_that_takes_too_long_is_ended_from_outside(tmp_path: Path) -> None:
    rows = mixed("number", 20_000)
    endless = Leafwise(name="endless", rate=0.0005, leaves=200, min_rows=2, absolute=True)
    started = time.monotonic()
    asked = FitJob(members=(endless,), measure="mae", seed=0)
    ((fitted, margins),) = fit_members(rows, asked, place=tmp_path, seconds=1.5, told=lambda one: None)
    assert time.monotonic() - started < 30  # left alone it goes on for many minutes; a busy machine starts late
    assert (fitted.state, margins) == ("late", None)


def test_a_member_that_fails_says_so_and_takes_nothing_with_it(tmp_path: Path) -> None:
    broken = Symmetric(name="broken", depth=99)
    asked = FitJob(members=(broken, Curves(name="additive")), measure="log_loss", seed=0)
    told: list[str] = []
    found = fit_members(
        mixed("binary", 200), asked, place=tmp_path, seconds=None, told=lambda one: told.append(one.settings.name)
    )
    assert [one.state for one, _ in found] == ["failed", "fitted"]
    assert found[0][0].says
    assert found[1][1] is not None
    assert told == ["broken", "additive"]


@pytest.mark.slow
def test_a_label_may_be_chosen_for_its_f1(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    rows = made({"x": x}, rng.random(600) < 1 / (1 + np.exp(3 - 2 * x)), "binary")
    plan = choice_of(rows, tmp_path, label="f1").plan
    assert isinstance(plan, AutoPlan)
    assert 0.1 < plan.threshold < 0.5  # the class is rare
    assert plan.fit(rows).recipe.threshold == plan.threshold


def test_no_input_that_says_anything_leaves_the_baseline(tmp_path: Path) -> None:
    rows = made({"same": np.ones(60)}, np.arange(60) % 2, "binary")
    choice = choice_of(rows, tmp_path)
    assert choice.plan.name == "prior"
    assert choice.notes == (
        "same was left out: it has the same value in all 60 rows",
        "no input is left to train on, so the baseline is used: prior",
    )


def test_too_little_is_refused(tmp_path: Path) -> None:
    rows = mixed("binary", 60)
    with pytest.raises(TooLittleData, match="19 training rows"):
        choice_of(rows.take(np.arange(19)), tmp_path)
    with pytest.raises(TooLittleData, match="same class"):
        choice_of(rows.take(np.flatnonzero(rows.target == 1)), tmp_path)
