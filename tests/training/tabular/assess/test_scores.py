from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.tabular.assess.calibration import bins_of, calibration_error
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.ranking_measures import (
    weighted_auc,
    weighted_average_precision,
    weighted_median,
)
from tidemill.training.tabular.assess.scores import measures, scores_of


def world(n: int = 2_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    answer = rng.beta(0.7, 1.6, n)
    return answer, (rng.random(n) < answer).astype(float)


def plain(told: RowAnswers) -> dict[str, float]:
    return {name: float(of(np.ones((1, len(told.target))))[0]) for name, of in measures(told).items()}


def test_the_measures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    answer, target = world()
    answer = np.round(answer, 2)  # ties
    found = plain(RowAnswers("binary", answer, target))
    assert next(iter(found)) == "log_loss"
    assert found == pytest.approx(
        {
            "log_loss": metrics.log_loss(target, answer),
            "auc": metrics.roc_auc_score(target, answer),
            "brier": metrics.brier_score_loss(target, answer),
            "accuracy": metrics.accuracy_score(target, answer >= 0.5),
            "average_precision": metrics.average_precision_score(target, answer),
        }
    )
    rng = np.random.default_rng(1)
    value, came = rng.gamma(2, size=501), rng.poisson(2, 501).astype(float)
    assert plain(RowAnswers("number", value, came)) == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(came, value),
            "rmse": metrics.root_mean_squared_error(came, value),
            "r2": metrics.r2_score(came, value),
            "median_absolute_error": metrics.median_absolute_error(came, value),
        }
    )
    deviance = metrics.mean_poisson_deviance(came, value)
    assert plain(RowAnswers("count", value, came))["poisson_deviance"] == pytest.approx(deviance)
    shares = rng.dirichlet(np.ones(4), 500)
    kind = rng.integers(0, 4, 500).astype(float)
    found = plain(RowAnswers("classes", shares, kind))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(kind, shares))
    assert found["brier"] == pytest.approx(((shares - np.eye(4)[kind.astype(int)]) ** 2).sum(axis=1).mean())
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(kind, shares, labels=[0, 1, 2, 3]))
    assert found["macro_auc"] == pytest.approx(metrics.roc_auc_score(kind, shares, multi_class="ovr"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40))
def test_a_weight_is_the_row_that_often(cells):
    answer, target, times = (np.array(column, float) for column in zip(*cells, strict=True))
    again = np.repeat(np.arange(len(cells)), times.astype(int))
    for of in (weighted_auc, weighted_average_precision):
        found = of(answer, target)(times[None])[0]
        if len(again):
            plain = of(answer[again], target[again])(np.ones((1, len(again))))[0]
            assert (np.isnan(found) and np.isnan(plain)) or found == pytest.approx(plain)
    if len(again):
        assert weighted_median(answer)(times[None])[0] == np.sort(answer[again])[(len(again) - 1) // 2]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    big_answer, big_target = world(200_000, 7)
    truth = plain(RowAnswers("binary", big_answer, big_target))
    held = dict.fromkeys(truth, 0)
    for seed in range(30):
        drawn = np.random.default_rng(seed).integers(0, 200_000, 400)
        told = RowAnswers("binary", big_answer[drawn], big_target[drawn])
        for score in scores_of(told, told, Bootstrap(400, seed=seed)):
            held[score.name] += score.model.low <= truth[score.name] <= score.model.high
            assert score.difference.low == score.difference.high == 0  # the same model twice
    assert all(25 <= times <= 30 for times in held.values()), held


def test_an_interval_ends_where_the_metric_does():
    target = (np.arange(300) % 2).astype(float)
    answer = np.where(target == 1, 0.99, 0.01)
    answer[0] = 0.6
    told = RowAnswers("binary", answer, target)
    refits = [RowAnswers("binary", np.where(np.arange(300) < n, 1 - answer, answer), target) for n in (3, 30)]
    for score in scores_of(told, told, Bootstrap(300), refits):
        assert 0 <= score.model.low <= score.model.value <= score.model.high, score
        assert score.model.high <= 1 or score.name == "log_loss", score


def test_a_difference_is_paired_and_told_by_its_direction():
    answer, target = world(4_000)
    blurred = np.clip(answer + np.random.default_rng(3).normal(0, 0.1, 4_000), 0.01, 0.99)
    draws = Bootstrap(4_000)
    for score in scores_of(RowAnswers("binary", answer, target), RowAnswers("binary", blurred, target), draws):
        if score.name in ("log_loss", "brier", "auc"):
            assert score.standing == "better"
            alone = score.model.high - score.model.low
            assert score.difference.high - score.difference.low < 0.8 * alone
    for score in scores_of(RowAnswers("binary", blurred, target), RowAnswers("binary", answer, target), draws):
        if score.name in ("log_loss", "brier", "auc"):
            assert score.standing == "worse"


def test_rows_of_one_group_count_once():
    answer, target = world(200)
    again = np.repeat(np.arange(200), 20)
    told = RowAnswers("binary", answer[again], target[again])
    (alone, *_), (grouped, *_) = (
        scores_of(told, told, Bootstrap(4_000, group)) for group in (None, again.astype(np.int64))
    )
    once = scores_of(RowAnswers("binary", answer, target), RowAnswers("binary", answer, target), Bootstrap(200))[0]
    width = grouped.model.high - grouped.model.low
    assert width > 3 * (alone.model.high - alone.model.low)
    assert width == pytest.approx(once.model.high - once.model.low, rel=0.3)


def test_sums_over_groups_are_those_over_rows():
    group = np.random.default_rng(0).integers(0, 30, 300)
    draws, values = Bootstrap(300, group), np.random.default_rng(1).normal(size=(300, 3))
    weighted = draws.resample({str(k): lambda weights, k=k: weights @ values[:, k] for k in range(3)})
    assert np.allclose(draws.sums(values), np.column_stack(list(weighted.values())))
    some = np.arange(0, 300, 7)
    others = values.copy()
    others[np.setdiff1d(np.arange(300), some)] = 0
    assert np.allclose(draws.sums(values[some], some), draws.sums(others))


def test_a_perfect_model_has_hardly_a_calibration_error_and_a_wrong_one_its_own():
    answer, target = world(5_000, 1)
    draws = Bootstrap(5_000)
    perfect = calibration_error(RowAnswers("binary", answer, target), draws)
    assert perfect.value < 0.01 and perfect.low < 0.004
    wrong = calibration_error(RowAnswers("binary", np.clip(answer + 0.1, 0, 1), target), draws)
    assert wrong.low > 0.07 and wrong.low < 0.098 < wrong.high
    assert calibration_error(RowAnswers("number", answer, target), draws) is None


def test_bins_have_every_row_once_and_their_own_figures():
    answer, target = world(1_000)
    for group in (None, np.arange(1_000) // 3):
        bins = bins_of(RowAnswers("binary", answer, target), Bootstrap(1_000, group))
        assert sum(each.n for each in bins) == 1_000 and len(bins) == 10
        for each in bins:
            inside = (answer >= each.low) & (answer <= each.high)
            assert each.predicted == pytest.approx(answer[inside].mean())
            assert each.observed.value == pytest.approx(target[inside].mean())
            assert each.observed.low <= each.observed.value <= each.observed.high
    assert len(bins_of(RowAnswers("binary", np.full(1_000, 0.3), target), Bootstrap(1_000))) == 1
