"""What members are made of: columns, encoders, folds, curves, trees as arrays, the stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from tabular_rows import made, mixed

from tidemill.core.records.signature import Task
from tidemill.models.tabular.recipe import NumberColumn, TargetMean
from tidemill.training.statistics.ratio_estimate import mean_interval
from tidemill.training.tabular.automl.auto_plan import AutoPlan
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.automl.cross_fit import MemberFit
from tidemill.training.tabular.automl.linear_splines import basis_of, spline_basis
from tidemill.training.tabular.automl.member_settings import Curves, Leafwise, Settings, Symmetric
from tidemill.training.tabular.automl.portfolio import portfolio
from tidemill.training.tabular.automl.stacking import stack, stacked_apart
from tidemill.training.tabular.rows.folds import folds_of
from tidemill.training.tabular.rows.row_losses import USUAL, row_losses
from tidemill.training.tabular.rows.table_columns import columns_of
from tidemill.training.tabular.rows.table_encoding import EncodedTable, TargetMeanOf

TASKS: tuple[Task, ...] = ("binary", "classes", "number", "count")


@pytest.mark.parametrize(("classes", "last"), [(3, "lightgbm"), (10, "lightgbm_small")])
def test_of_many_classes_the_slow_steps_come_last_so_that_they_starve_nobody(classes: int, last: str) -> None:
    rows = made({"x": np.arange(100.0)}, np.arange(100.0) % classes, "classes")
    members = [member.name for member in portfolio(rows)]
    assert sorted(members) == ["additive", "catboost", "lightgbm", "lightgbm_small"]
    assert (members[0], members[-1]) == ("additive", last)


def test_columns_that_say_nothing_are_left_out_aloud() -> None:
    n = 80
    rows = made(
        {
            "id": [f"customer {at}" for at in range(n)],
            "line": np.arange(n),
            "same": np.ones(n),
            "gone": pa.array([None] * n, pa.string()),
            "age": np.random.default_rng(0).normal(size=n),
        },
        np.arange(n) % 2,
        "binary",
    )
    found = columns_of(rows)
    assert [column.name for column in found.kept] == ["age"]
    assert [note.split()[0] for note in found.notes] == ["id", "line", "same", "gone"]


def test_a_time_that_runs_with_the_rows_counts_by_its_parts_only() -> None:
    n = 100
    when = np.arange(n) * 3_600_000_000 * 7
    times = pa.array(when).cast(pa.timestamp("us", tz="UTC"))
    born = pa.array(np.random.default_rng(0).permutation(when)).cast(pa.timestamp("us", tz="UTC"))
    (asked, other) = columns_of(made({"asked": times, "born": born}, np.arange(n), "number", time=when)).kept
    assert not asked.plain
    assert other.plain


def test_the_figure_of_a_text_never_holds_the_row_that_it_stands_in() -> None:
    """Every text occurs once: a figure that held its own row would give the target away."""
    n = 200
    target = np.random.default_rng(0).normal(size=n)
    rows = made({"id": [str(at) for at in range(n)]}, target, "number")
    fit = np.arange(150)
    tabled = EncodedTable(rows, (TargetMeanOf(("id",)),), target)
    design, (encoder,) = tabled.learned_on(fit, seed=0)
    assert isinstance(encoder, TargetMean)
    assert abs(np.corrcoef(design[:, 0], target[:150])[0, 1]) < 0.3
    assert np.allclose(tabled.rows(np.arange(150, n), (encoder,)), target[:150].mean())  # never seen: the mean of all


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=40), st.integers(4, 20))
@profile(max_examples=40)
def test_hats_of_a_row_add_up_to_one(values: list[float], knots: int) -> None:
    design = np.asarray(values)[:, None]
    hats = spline_basis(design, [NumberColumn(input="x")], knots)
    basis = basis_of(design, hats).toarray()
    assert np.allclose(basis.sum(axis=1), 1)
    assert basis.min() >= 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "settings",
    [
        Curves(name="additive", ridge=1.0),
        Leafwise(name="lightgbm", rounds=(20,), min_rows=5),
        Symmetric(name="catboost", rounds=(20,)),
    ],
    ids=lambda one: one.name,
)
def test_what_is_kept_answers_as_what_was_learned(settings: Settings, task: Task) -> None:
    rows = mixed(task)
    k = max(len(rows.classes), 1) if task == "classes" else 1
    one = MemberFit(rows, columns_of(rows), settings, measure=USUAL[task], seed=3)
    learnt, _ = one.settled(np.arange(len(rows)), 22)
    plan = AutoPlan(task=task, measure=USUAL[task], members=(settings,), weights=(1.0,), bias=(0.0,) * k)
    model = plan.fit(rows, seed=3)
    tabled: Any = one._tabled
    design = tabled.rows(np.arange(len(rows)), model.recipe.encoders)
    assert np.allclose(model.margins(rows.inputs), learnt.margins(design), rtol=1e-9, atol=1e-9)
    naive = naive_plan(task).fit(rows)
    losses = [row_losses(m.margins(rows.inputs), rows.target, task, USUAL[task]).mean() for m in (model, naive)]
    assert losses[0] < 0.9 * losses[1]


def test_curves_find_the_curve_that_made_the_rows() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-3, 3, 2_000)
    rows = made({"x": x}, np.abs(x) * 5 + 100, "number")
    for measure in ("mae", "rmse"):
        plan = AutoPlan(
            task="number",
            measure=measure,
            members=(Curves(name="a", ridge=0.1, knots=40),),
            weights=(1.0,),
            bias=(0.0,),
        )
        assert np.abs(plan.fit(rows).answer(rows.inputs) - rows.target).mean() < 0.2


def test_baselines_are_the_figures_that_they_are_named_for() -> None:
    rows = made({"zone": ["a"] * 30 + ["b"] * 30}, [1.0] * 29 + [100.0] + [5.0] * 30, "number")
    assert naive_plan("number").fit(rows).answer(rows.inputs)[0] == 5.0
    assert naive_plan("number", measure="rmse").fit(rows).answer(rows.inputs)[0] == pytest.approx(rows.target.mean())
    by = naive_plan("number", by="zone")
    assert by.name == "median by zone"
    assert set(by.fit(rows).answer(rows.inputs)) == {1.0, 5.0}
    coin = made({"zone": ["a"] * 40}, [1.0] * 10 + [0.0] * 30, "binary")
    assert naive_plan("binary").fit(coin).answer(coin.inputs)[0] == pytest.approx(10.5 / 41)
    counts = made({"zone": ["a"] * 40}, [2.0] * 10 + [0.0] * 30, "count")
    assert naive_plan("count").fit(counts).answer(counts.inputs)[0] == pytest.approx(0.5)


def test_folds_hold_every_row_out_once_and_keep_groups_and_times_apart() -> None:
    rng = np.random.default_rng(0)
    n = 300
    target = (rng.random(n) < 0.05).astype(float)
    plain = made({"x": rng.normal(size=n)}, target, "binary")
    folds = folds_of(plain, seed=1)
    assert np.array_equal(np.sort(np.concatenate([held for _, held in folds])), np.arange(n))
    assert np.ptp([target[held].sum() for _, held in folds]) <= 1
    group = rng.integers(0, 40, n)
    for fit, held in folds_of(made({"x": np.zeros(n)}, target, "binary", group=group), seed=1):
        assert not set(group[fit]) & set(group[held])
    time = rng.permutation(n) // 7
    ((fit, held),) = folds_of(made({"x": np.zeros(n)}, target, "binary", time=time), seed=1)
    assert time[fit].max() < time[held].min()
    assert len(fit) + len(held) == n


def test_the_stack_finds_weights_and_leaves_noise_out() -> None:
    rng = np.random.default_rng(0)
    n = 4_000
    good, noise = rng.normal(size=(2, n))
    target = (rng.random(n) < 1 / (1 + np.exp(-2 * good))).astype(float)
    found = stack(np.stack([good, noise])[:, :, None], target, "binary", "log_loss")
    assert found.weights[1] == 0
    assert found.weights[0] == pytest.approx(2, abs=0.25)


def test_few_rows_that_can_be_parted_do_not_carry_the_weights_away() -> None:
    target = np.tile([0.0, 1.0], 20)
    members = np.stack([target * 8 - 4, target * 6 - 3])[:, :, None]
    assert max(stack(members, target, "binary", "log_loss").weights) < 3
    apart = stacked_apart(members, target, "binary", "log_loss", seed=0)
    assert row_losses(apart, target, "binary", "log_loss").mean() < 0.05


def test_an_interval_over_blocks_is_wider_where_their_rows_move_together() -> None:
    losses = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    alone, together = mean_interval(losses, np.arange(1_000)), mean_interval(losses, np.repeat(np.arange(50), 20))
    assert together.high - together.low > 3 * (alone.high - alone.low)
