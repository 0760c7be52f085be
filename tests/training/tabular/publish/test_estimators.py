"""Any estimator, published without a pickle: what the bundle answers is what the fitted object answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from estimated_rows import prepared, rows

from tidemill.core.errors import NotPublishable, ParityFailed, SettingRefused, TooLittleData, TypeMismatch
from tidemill.core.records.signature import Task
from tidemill.models.tabular import open_tabular, parity, write_tabular
from tidemill.training.tabular.estimator_plan import estimator_plan, seeded
from tidemill.training.tabular.publish.deterministic_fit import fit_deterministically
from tidemill.training.tabular.publish.estimator_frame import frame_of
from tidemill.training.tabular.publish.publish_estimator import FittedEstimator, PublishableForm, published

sklearn = pytest.importorskip("sklearn")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

from sklearn import calibration, ensemble, impute, linear_model, preprocessing, svm, tree  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: E402
from sklearn.feature_selection import SelectKBest  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

Made = Callable[[], Any]
ORDINAL = {"handle_unknown": "use_encoded_value", "unknown_value": -1}

#: Task, what makes the estimator. Each is published only if all of some 700 answers agree to 1e-6.
ESTIMATORS: dict[str, tuple[Task, Made]] = {
    "logistic": ("binary", lambda: prepared(linear_model.LogisticRegression())),
    "logistic of classes": ("classes", lambda: prepared(linear_model.LogisticRegression())),
    "ridge": ("number", lambda: prepared(linear_model.Ridge())),
    "poisson": ("count", lambda: prepared(linear_model.PoissonRegressor())),
    "forest": ("binary", lambda: prepared(ensemble.RandomForestClassifier(10))),
    "extra trees": ("classes", lambda: prepared(ensemble.ExtraTreesClassifier(5))),
    "forest of numbers": ("number", lambda: prepared(ensemble.RandomForestRegressor(5))),
    "tree": ("binary", lambda: prepared(tree.DecisionTreeClassifier(max_depth=4))),
    "boosted": ("classes", lambda: prepared(ensemble.GradientBoostingClassifier(n_estimators=8))),
    "boosted numbers": ("number", lambda: prepared(ensemble.GradientBoostingRegressor(n_estimators=8))),
    "histogram, gaps as they are": (
        "binary",
        lambda: prepared(
            ensemble.HistGradientBoostingClassifier(max_iter=10), preprocessing.OrdinalEncoder(**ORDINAL), "passthrough"
        ),
    ),
    "histogram of counts": (
        "count",
        lambda: prepared(ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=10)),
    ),
    "imputed texts": (
        "binary",
        lambda: prepared(
            linear_model.LogisticRegression(),
            make_pipeline(
                impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")
            ),
        ),
    ),
    "rare texts together, one dropped": (
        "binary",
        lambda: prepared(
            linear_model.LogisticRegression(),
            preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=120, drop="first"),
        ),
    ),
    "target means": ("number", lambda: prepared(linear_model.Ridge(), preprocessing.TargetEncoder())),
    "turned target": (
        "count",
        lambda: prepared(TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1)),
    ),
    "vote": (
        "binary",
        lambda: prepared(
            ensemble.VotingClassifier(
                [("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=3))],
                voting="soft",
                weights=[2, 1],
            )
        ),
    ),
    "chosen by a grid": (
        "binary",
        lambda: GridSearchCV(prepared(linear_model.LogisticRegression()), {"model__C": [0.1, 1]}, cv=2),
    ),
    "chosen columns, turned": (
        "binary",
        lambda: prepared(make_pipeline(SelectKBest(k=5), PCA(3), linear_model.LogisticRegression())),
    ),
    "neighbours": ("binary", lambda: prepared(KNeighborsClassifier())),
    "network": ("binary", lambda: prepared(MLPClassifier(8, tol=0.1))),
    "naive Bayes": ("binary", lambda: prepared(GaussianNB())),
    "discriminant": ("classes", lambda: prepared(LinearDiscriminantAnalysis())),
    "calibrated": ("binary", lambda: prepared(calibration.CalibratedClassifierCV(linear_model.LogisticRegression()))),
    "scales, one after another": (
        "number",
        lambda: prepared(
            make_pipeline(preprocessing.RobustScaler(), preprocessing.MinMaxScaler(clip=True), svm.LinearSVR())
        ),
    ),
}  # fmt: skip
#: What ONNX Runtime computes only in float32, or what skl2onnx writes wrongly in double: within 1e-5.
CONVERTED: dict[str, Made] = {
    "support vectors": lambda: prepared(calibration.CalibratedClassifierCV(svm.SVC(), ensemble=False)),
    "adaptive": lambda: prepared(ensemble.AdaBoostClassifier(n_estimators=5)),
    "bagged": lambda: prepared(ensemble.BaggingClassifier(n_estimators=5)),
    "products": lambda: prepared(
        linear_model.LogisticRegression(),
        numbers=make_pipeline(
            impute.SimpleImputer(), preprocessing.StandardScaler(), preprocessing.PolynomialFeatures()
        ),
    ),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_bundle_answers_as_the_fitted_estimator(name: str, tmp_path: Path) -> None:
    task, make = ESTIMATORS[name]
    examples, estimator = rows(task), make()
    model = estimator_plan(estimator).fit(examples, seed=3)
    write_tabular(model, tmp_path)
    fresh = seeded(estimator, 3)
    target = examples.target.astype(int) if model.recipe.classes else examples.target
    fit_deterministically(fresh, frame_of(examples.inputs, examples.fields), target, 3)
    others = rows(task, 200, seed=9)  # rows that no fitting and no parity check has seen
    frame = frame_of(others.inputs, others.fields)
    expected = fresh.predict_proba(frame) if model.recipe.classes else fresh.predict(frame)
    expected = expected[:, 1] if task == "binary" else expected
    assert open_tabular(tmp_path).answer(others.inputs) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert parity(model, (others.inputs, np.asarray(expected))) < 1e-9 * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("name", CONVERTED)
def test_what_has_no_exact_form_is_published_in_float32(name: str) -> None:
    model = estimator_plan(CONVERTED[name]()).fit(rows("binary", 200))
    assert [type(member).__name__ for member in model.recipe.members] == ["OnnxGraphMember"]


def test_an_estimator_without_preprocessing_reads_a_matrix_of_the_numbers() -> None:
    for estimator in (ensemble.HistGradientBoostingClassifier(max_iter=5), ensemble.RandomForestClassifier(5)):
        model = estimator_plan(estimator).fit(rows("binary", 300, numbers_only=True))
        assert 0 <= model.predict_row([None, 120.5])[0] <= 1


def test_fitting_again_gives_the_same_bytes_and_leaves_the_estimator_alone() -> None:
    estimator = prepared(ensemble.RandomForestClassifier(5, n_jobs=2))
    plan = estimator_plan(estimator)
    one, two = plan.fit(rows("binary"), seed=5), plan.fit(rows("binary"), seed=5)
    assert one.parts == two.parts
    assert one.parts != plan.fit(rows("binary"), seed=6).parts
    assert not hasattr(estimator.named_steps["model"], "estimators_")
    assert (estimator.named_steps["model"].random_state, estimator.named_steps["model"].n_jobs) == (None, 2)


def test_its_settings_are_plain_values_with_versions() -> None:
    import msgspec

    told = estimator_plan(prepared(linear_model.LogisticRegression(C=0.5))).settings()
    assert b'"C":0.5' in msgspec.json.encode(told)
    assert told["versions"] == {"scikit-learn": sklearn.__version__}
    assert told == estimator_plan(prepared(linear_model.LogisticRegression(C=0.5))).settings()
    assert told != estimator_plan(prepared(linear_model.LogisticRegression(C=0.6))).settings()


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_lightgbm_is_published_as_its_text(task: Task, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    usual = {"n_estimators": 8, "min_child_samples": 5, "verbosity": -1}
    estimator: Any = lightgbm.LGBMClassifier(**usual) if task in ("binary", "classes") else dict(usual)
    model = estimator_plan(estimator).fit(rows(task))
    assert list(model.parts) == ["trees.txt"]
    write_tabular(model, tmp_path)
    others = rows(task, 50, seed=4).inputs
    assert np.array_equal(open_tabular(tmp_path).answer(others), model.answer(others))
    contributions, base = model.explain(others)
    assert contributions.sum(axis=1) + base == pytest.approx(
        np.take_along_axis(model.margins(others), model.margins(others).argmax(axis=1)[:, None], 1)[:, 0]
    )


def test_lightgbm_at_the_end_of_a_pipeline_becomes_a_graph() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    estimator = prepared(lightgbm.LGBMClassifier(n_estimators=5, verbosity=-1))
    assert set(estimator_plan(estimator).settings()["versions"]) == {"lightgbm", "scikit-learn"}
    assert seeded(estimator, 4).get_params()["model__n_jobs"] == 1  # left open, it would take every core
    model = estimator_plan(estimator).fit(rows("binary"))
    assert list(model.parts) == ["model.onnx"]


@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_catboost_is_published_as_arrays(task: Task) -> None:
    catboost = pytest.importorskip("catboost")
    kind = catboost.CatBoostRegressor if task == "number" else catboost.CatBoostClassifier
    model = estimator_plan(kind(iterations=8, depth=3)).fit(rows(task))
    assert {type(member).__name__ for member in model.recipe.members} == {"ObliviousTreesMember"}


def test_catboost_of_other_trees_says_what_to_do() -> None:
    catboost = pytest.importorskip("catboost")
    with pytest.raises(NotPublishable, match="SymmetricTree") as refused:
        estimator_plan(catboost.CatBoostClassifier(iterations=3, grow_policy="Depthwise")).fit(rows("binary", 200))
    assert "tm.auto()" in str(refused.value)


# ---- what is refused


class Median:
    """A user's own estimator, which nothing can translate."""

    def fit(self, frame: Any, target: Any) -> Median:
        self.middle_ = float(np.median(target))
        return self

    def predict(self, frame: Any) -> Any:
        return np.full(len(frame), self.middle_)


class OwnGraph(Median):
    """The same with a graph of its own: the hook of anything that is no scikit-learn, PyTorch among it."""

    off = 0.0

    def export_onnx(self, folder: Path) -> Path:
        from onnx import TensorProto, helper, save

        told = helper.make_tensor_value_info
        nodes = [
            helper.make_node("Mul", ["age", "nothing"], ["none"]),
            helper.make_node("Where", ["yes", "middle", "none"], ["answer"]),
        ]
        constants = [
            helper.make_tensor("nothing", TensorProto.DOUBLE, [1], [0.0]),
            helper.make_tensor("middle", TensorProto.DOUBLE, [1], [self.middle_ + self.off]),
            helper.make_tensor("yes", TensorProto.BOOL, [1], [True]),
        ]
        graph = helper.make_graph(
            nodes,
            "median",
            [told("age", TensorProto.DOUBLE, [None, 1])],
            [told("answer", TensorProto.DOUBLE, [None, 1])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        save(model, str(folder / "median.onnx"))
        return folder / "median.onnx"


class OffGraph(OwnGraph):
    off = 0.5


def test_a_class_of_ones_own_is_published_by_its_own_graph() -> None:
    examples = rows("number", 100)
    model = estimator_plan(OwnGraph()).fit(examples)
    assert model.answer(examples.inputs) == pytest.approx(np.full(100, np.median(examples.target)))


def test_one_without_a_graph_is_refused_with_the_next_step() -> None:
    with pytest.raises(NotPublishable, match="Median cannot be published") as refused:
        estimator_plan(Median()).fit(rows("number", 50))
    assert "export_onnx(folder)" in str(refused.value)


def test_a_graph_that_answers_otherwise_is_not_published() -> None:
    examples = rows("number", 100)
    with pytest.raises(ParityFailed) as refused:
        estimator_plan(OffGraph()).fit(examples)
    middle = float(np.median(examples.target))
    assert "row 0" in str(refused.value)
    assert f"{middle + 0.5:.6g}" in str(refused.value)
    assert f"{middle:.6g}" in str(refused.value)


def test_the_worst_row_is_named_by_its_own_number() -> None:
    from dataclasses import replace

    examples = replace(rows("number", 100), row=np.arange(100, dtype=np.int64) + 7000)
    right = estimator_plan({"n_estimators": 3}).fit(examples)
    wrong = right.answer(examples.inputs).copy()
    wrong[41] += 1
    fitted = FittedEstimator(
        lambda inputs: wrong if len(inputs) == 100 else right.answer(inputs), [PublishableForm("text", lambda: right)]
    )
    with pytest.raises(ParityFailed, match="row 7041"):
        published(fitted, examples, "Wrong")


def test_texts_without_an_encoder_are_told_without_quoting_a_value() -> None:
    with pytest.raises(SettingRefused, match="city, job are texts") as refused:
        estimator_plan(linear_model.Ridge()).fit(rows("number", 100, whole=True))
    assert not {"Aachen", "Bonn", "clerk"} & set(str(refused.value).replace("'", " ").split())


def test_a_classifier_without_probabilities_is_refused() -> None:
    with pytest.raises(NotPublishable, match="no probabilities"):
        estimator_plan(prepared(svm.LinearSVC())).fit(rows("binary", 100))


def test_too_few_classes_in_the_rows_are_too_little() -> None:
    from dataclasses import replace

    examples = rows("classes", 200)
    few = replace(examples, target=np.minimum(examples.target, 1))
    with pytest.raises(TooLittleData, match="2 of 3 classes"):
        estimator_plan(prepared(linear_model.LogisticRegression())).fit(few)


@pytest.mark.parametrize("wrong", [linear_model.Ridge, "lightgbm", 3])
def test_what_cannot_be_fitted_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeMismatch):
        estimator_plan(wrong)


def test_unseen_and_missing_texts_are_answered_as_the_estimator_answers_them() -> None:
    estimator = prepared(linear_model.LogisticRegression())
    examples = rows("binary")
    model = estimator_plan(estimator).fit(examples)
    odd = pa.table({"age": [None, 30.0], "income": [100.0, None], "city": ["Xanten", None], "job": [None, "?"]})
    fresh = seeded(estimator, 0).fit(frame_of(examples.inputs, examples.fields), examples.target.astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = fresh.predict_proba(frame_of(odd.cast(examples.inputs.schema), examples.fields))[:, 1]
    assert model.answer(odd) == pytest.approx(expected, rel=1e-12)


def test_an_input_that_it_cannot_do_without_is_required() -> None:
    estimator = prepared(linear_model.LogisticRegression(), numbers=preprocessing.StandardScaler())
    model = estimator_plan(estimator).fit(rows("binary", 200, whole=True))
    required = {field.name for field in model.recipe.inputs if not field.optional}
    assert required == {"age", "income"}


def test_one_that_refuses_unknown_texts_is_refused_with_what_to_set() -> None:
    estimator = prepared(linear_model.LogisticRegression(), preprocessing.OneHotEncoder())
    with pytest.raises(NotPublishable, match="rejects unseen texts of city, job") as refused:
        estimator_plan(estimator).fit(rows("binary", 200))
    assert "handle_unknown='ignore'" in str(refused.value)
