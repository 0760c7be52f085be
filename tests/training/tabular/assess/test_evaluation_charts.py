from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import curves_plan, rows, with_input
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import NotExplained
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.evaluation_charts import ClassScores, EvaluationCharts, ShapeFunction
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.assess.assess import assess
from tidemill.training.tabular.assess.evaluation_charts import evaluation_charts
from tidemill.training.tabular.assess.feature_importance import influences_of
from tidemill.training.tabular.assess.losses import RowAnswers
from tidemill.training.tabular.assess.shape_functions import shape_functions
from tidemill.training.tabular.train import train_tabular

YES_NO = ("no", "yes")


def binary(n: int, *, share: float = 0.4, digits: int = 6, threshold: float = 0.5, seed: int = 0) -> RowAnswers:
    rng = np.random.default_rng(seed)
    target = (rng.random(n) < share).astype(float)
    answer = np.round(np.clip(0.3 * target + 0.7 * rng.beta(2, 3, n), 0, 1), digits)
    return RowAnswers("binary", answer, target, threshold)


def above(scores: ClassScores) -> list[tuple[float, int, int]]:
    """Threshold, rows and positive rows at or above it."""
    n = np.cumsum([one.n for one in scores.bins]).tolist()
    positives = np.cumsum([one.positives for one in scores.bins]).tolist()
    return list(zip([one.threshold for one in scores.bins], n, positives, strict=True))


@settings(max_examples=60)
@given(st.integers(10, 400), st.floats(0.02, 0.98), st.integers(0, 6), st.floats(0.05, 0.95), st.integers(0, 50))
def test_every_bin_has_ten_rows_and_its_counts_are_those_of_the_rows(n, share, digits, threshold, seed):
    told = binary(n, share=share, digits=digits, threshold=threshold, seed=seed)
    for scores in evaluation_charts(told, YES_NO).scores:
        assert len(scores.bins) <= 80
        assert all(one.n >= FEWEST_USERS for one in scores.bins)
        for edge, n_above, positives in above(scores):
            inside = told.answer >= edge
            assert (n_above, positives) == (inside.sum(), told.target[inside].sum())
        assert above(scores)[-1][1:] == (n, told.target.sum())


def test_the_threshold_of_the_model_is_one_of_the_thresholds():
    told = binary(2_000, threshold=0.37)
    charts = evaluation_charts(told, YES_NO)
    assert charts.threshold == 0.37
    found = {edge: counts for edge, *counts in above(charts.scores[0])}
    assert found[0.37] == [told.label.sum(), told.target[told.label == 1].sum()]


def test_the_area_under_the_curve_is_close_to_that_of_all_rows():
    metrics = pytest.importorskip("sklearn.metrics")
    for share in (0.02, 0.5):
        told = binary(20_000, share=share)
        points = np.asarray([(0, 0, 0), *above(evaluation_charts(told, YES_NO).scores[0])])
        hits = points[:, 2] / told.target.sum()
        false = (points[:, 1] - points[:, 2]) / (told.target == 0).sum()
        assert np.trapezoid(hits, false) == pytest.approx(metrics.roc_auc_score(told.target, told.answer), abs=0.004)


def test_a_class_of_fewer_than_ten_rows_has_no_curve():
    told = binary(500)
    target = np.zeros(500)
    target[:9] = 1
    assert evaluation_charts(RowAnswers("binary", told.answer, target), YES_NO).scores == ()
    assert evaluation_charts(binary(9), YES_NO) == EvaluationCharts()


def test_the_confusion_matrix_of_classes_has_no_row_of_a_rare_class():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    names = tuple("abcd")
    target = rng.choice(4, 900, p=[0.5, 0.3, 0.195, 0.005]).astype(float)
    answer = rng.dirichlet(np.ones(4), 900)
    told = RowAnswers("classes", answer, target)
    charts = evaluation_charts(told, names)
    assert [scores.label for scores in charts.scores] == ["a", "b", "c"]
    assert charts.confusion.predicted == ("a", "b", "c", "other classes")
    assert [row.label for row in charts.confusion.rows] == ["a", "b", "c"]
    full = metrics.confusion_matrix(target, told.label)
    assert [row.counts for row in charts.confusion.rows] == [tuple(row) for row in full[:3].tolist()]


def test_of_many_classes_the_most_frequent_are_kept():
    rng = np.random.default_rng(1)
    target = rng.integers(0, 60, 5_000).astype(float)
    charts = evaluation_charts(
        RowAnswers("classes", rng.dirichlet(np.ones(60), 5_000), target), list(map(str, range(60)))
    )
    assert len(charts.scores) == 8
    assert sum(len(scores.bins) for scores in charts.scores) <= 240
    assert len(charts.confusion.rows) == 16
    assert sum(sum(row.counts) for row in charts.confusion.rows) == 5_000
    assert len(msgspec.json.encode(charts)) < 30_000


@pytest.mark.parametrize("n", [10, 45, 700, 30_000])
def test_residuals_are_quantiles_of_bins_and_a_histogram_of_all_rows(n):
    rng = np.random.default_rng(n)
    answer = rng.gamma(2, 50, n)
    target = answer + rng.normal(0, 3 + answer / 10)
    charts = evaluation_charts(RowAnswers("number", answer, target), ())
    assert sum(one.n for one in charts.residuals) == sum(one.n for one in charts.residual_counts) == n
    assert min(one.n for one in (*charts.residuals, *charts.residual_counts)) >= FEWEST_USERS
    assert all(one.q10 <= one.q25 <= one.median <= one.q75 <= one.q90 for one in charts.residuals)
    if n == 30_000:  # the spread grows with the prediction, and the median stays at zero
        assert charts.residuals[-1].q90 > 3 * charts.residuals[0].q90
        assert abs(charts.residuals[15].median) < 1
    edges = [one.high for one in charts.residual_counts[:-1]]
    assert edges == [one.low for one in charts.residual_counts[1:]]


def test_equal_predictions_give_one_bin_and_equal_residuals_no_histogram():
    charts = evaluation_charts(RowAnswers("number", np.full(50, 3.0), np.full(50, 4.0)), ())
    assert [(one.n, one.median) for one in charts.residuals] == [(50, 1.0)]
    assert charts.residual_counts == ()


# ---- effects and shape functions


def test_effects_are_mean_contributions_of_at_least_ten_rows():
    examples = rows(600)
    rare = ["odd" if i < 6 else "west" if i % 2 else None for i in range(600)]
    examples = with_input(examples, "late", "bool", pa.array([i % 3 == 0 for i in range(600)]))
    examples = with_input(examples, "place", "str", pa.array(rare, pa.string()))
    model = curves_plan().fit(examples, seed=0)
    found = {one.input: one for one in influences_of(model, examples)}
    x = found["x"].effect
    assert [one.at for one in x] == sorted(one.at for one in x)
    assert np.all(np.diff([one.mean for one in x]) > 0)
    assert sum(one.n for one in x) == 600
    assert [one.value for one in found["late"].effect] == ["false", "true"]
    assert sorted(one.value for one in found["place"].effect) == ["missing", "west"]
    values, _ = model.explain(examples.inputs)
    west = np.asarray([value == "west" for value in rare])
    place = [field.name for field in model.inputs].index("place")
    (effect,) = [one for one in found["place"].effect if one.value == "west"]
    assert effect.mean == pytest.approx(values[west, place].mean())


def test_missing_numbers_have_an_effect_of_their_own():
    examples = rows(400)
    half = pa.array([None if i % 2 else float(i) for i in range(400)])
    examples = with_input(examples, "half", "float", half)
    model = curves_plan().fit(examples, seed=0)
    (found,) = [one for one in influences_of(model, examples) if one.input == "half"]
    assert (found.effect[-1].value, found.effect[-1].n) == ("missing", 200)
    everything = with_input(rows(400), "half", "float", pa.nulls(400, pa.float64()))
    (found,) = [one for one in influences_of(model, everything) if one.input == "half"]
    assert [(one.value, one.n) for one in found.effect] == [("missing", 400)]


class Unexplained(RowModel):
    """A model without SHAP values, such as an ONNX graph; `problem` is what `explain` raises, if anything."""

    def __init__(self, model: RowModel, problem: Exception | None = None) -> None:
        self.inputs, self.task, self.classes = model.inputs, model.task, model.classes
        self._model, self._problem = model, problem

    def answer(self, inputs):
        return self._model.answer(inputs)

    def explain(self, inputs):
        if self._problem:
            raise self._problem


def test_without_shap_values_the_values_are_permuted_and_say_the_same_of_a_sum():
    examples = rows(500, task="number")
    model = curves_plan("number").fit(examples, seed=0)
    shap = influences_of(model, examples)
    permuted = influences_of(Unexplained(model), examples)
    assert {one.method for one in shap} == {"shap"}
    assert {one.method for one in permuted} == {"permutation"}
    assert [one.input for one in permuted] == [one.input for one in shap]
    for one, other in zip(shap, permuted, strict=True):
        assert other.share == pytest.approx(one.share, abs=0.03)
    assert permuted[0].direction == pytest.approx(shap[0].direction, abs=0.08)  # noise of the permutations
    assert [at.at for at in permuted[0].effect] == [at.at for at in shap[0].effect]
    assert permuted == influences_of(Unexplained(model, NotExplained("no")), examples)


def test_permuted_classes_have_an_importance_without_a_direction():
    examples = rows(300, task="classes")
    found = influences_of(Unexplained(curves_plan("classes").fit(examples, seed=0)), examples)
    assert found[0].input == "x"
    assert found[-1].input == "noise"
    assert all(one.direction is None and one.effect == () for one in found)


@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_shape_functions_add_up_to_the_margin(task):
    examples = rows(800, task=task)
    when = pa.array([1_700_000_000_000_000 + i * 3_600_000_000 for i in range(800)], pa.timestamp("us", "UTC"))
    examples = with_input(examples, "at", "time", when)
    examples = with_input(examples, "late", "bool", pa.array([None if i % 9 == 0 else i % 2 == 0 for i in range(800)]))
    model = curves_plan(task).fit(examples, seed=0)
    assert isinstance(model, TabularModel)
    shapes = shape_functions(model, examples)
    assert {"x", "noise", "shop"} <= {one.input for one in shapes}
    margins = model.margins(examples.inputs)
    # The curves end where ten rows are left, so that the rows at the ends differ.
    middle = np.argsort(np.abs(examples.inputs["x"].to_numpy()) + np.abs(examples.inputs["noise"].to_numpy()))[:200]
    middle = middle[(middle >= 10) & (middle < 790)]
    added = sum(_added(one, examples, middle) for one in shapes)
    rest = margins[middle] - added
    # `late` is missing in every ninth row and is no category of the shape, so that a constant remains elsewhere.
    known = np.asarray([i % 9 != 0 for i in middle])
    assert np.ptp(rest[known], axis=0).max() < 1e-6 * (1 + np.abs(margins).max())


def _added(shape: ShapeFunction, examples, places):
    column = examples.inputs[shape.input].take(pa.array(places))
    if shape.input == "at":
        stamps = column.to_pylist()
        parts = {
            "": lambda at: at.timestamp(),
            "hour": lambda at: at.hour + at.minute / 60 + at.second / 3600,
            "weekday": lambda at: at.weekday(),
            "month": lambda at: at.month,
            "day": lambda at: at.day,
            "year": lambda at: at.year,
        }
        values = [float(parts[shape.part](at)) for at in stamps]
    else:
        values = column.to_pylist()
    effects = np.asarray([point.effects for point in shape.points])
    if shape.points[0].at is not None:
        numbers = [point.at for point in shape.points if point.at is not None]
        return np.stack(
            [np.interp(values, numbers, effects[: len(numbers), k]) for k in range(effects.shape[1])], axis=1
        )
    named = {point.value: effect for point, effect in zip(shape.points, effects, strict=True)}
    words = [str(value).lower() if isinstance(value, bool) else value for value in values]
    return np.asarray([named.get(word, np.zeros(effects.shape[1])) for word in words])


def test_no_shape_function_ends_at_the_value_of_fewer_than_ten_rows():
    examples = rows(500)
    pay = np.linspace(10, 20, 500)
    pay[:3] = (-5_000, 90_000, 70_000)
    examples = with_input(examples, "pay", "float", pa.array(pay))
    model = curves_plan().fit(examples, seed=0)
    (pay_shape,) = [one for one in shape_functions(model, examples) if one.input == "pay"]
    assert min(point.at for point in pay_shape.points) > 0
    assert max(point.at for point in pay_shape.points) < 21


def test_a_training_records_the_charts_and_an_older_record_has_none(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    result = train_tabular(rows(600), curves_plan(), model="m", folder=folder, curve=False)
    charts = result.assessment.charts
    assert charts.scores[0].label == "yes"
    assert {one.input for one in charts.shapes} == {"x", "noise", "shop"}
    written = msgspec.json.decode(msgspec.json.encode(result.assessment))
    assert msgspec.convert(written, Assessment) == result.assessment
    del written["charts"]
    for one in written["influences"]:
        del one["effect"]
    old = msgspec.convert(written, Assessment)
    assert old.charts == EvaluationCharts()
    assert old.influences[0].effect == ()


def test_an_assessment_of_nine_rows_has_no_charts():
    model, nine = curves_plan().fit(rows(300), seed=0), rows(300).take(np.arange(9))
    found = assess(model, nine, baseline=("same", model))
    assert found.charts == EvaluationCharts()
    assert all(one.effect == () for one in found.influences)
