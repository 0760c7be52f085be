"""`task="classes"` with two classes in the data: two probabilities, from every kind of learner."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tabular_rows import mixed

from tidemill.models.learners.auto import Auto
from tidemill.models.tabular import open_tabular, write_tabular
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_bundle import rows_of
from tidemill.training.search.search_budget import SearchBudget
from tidemill.training.tabular.estimator_plan import estimator_plan
from tidemill.training.tabular.train import train_tabular


def _catboost() -> Any:
    return pytest.importorskip("catboost").CatBoostClassifier(iterations=5)


def _xgboost() -> Any:
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=5)


def _pipeline() -> Any:
    pytest.importorskip("skl2onnx")
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = ColumnTransformer(
        [("n", SimpleImputer(), ["x"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["colour"])]
    )
    return make_pipeline(columns, LogisticRegression())


LEARNERS: dict[str, Callable[[], Any]] = {
    "lightgbm": lambda: {"n_estimators": 5, "num_leaves": 4},
    "catboost": _catboost,
    "xgboost": _xgboost,
    "a pipeline": _pipeline,
}


def two_classes() -> Examples:
    binary = mixed("binary", 120)
    return Examples(binary.fields, binary.inputs, binary.target, "classes", ("no", "yes"))


@pytest.mark.parametrize("name", LEARNERS)
def test_two_classes_have_two_probabilities_like_the_binary_task(name: str, tmp_path: Path) -> None:
    examples, binary = two_classes(), mixed("binary", 120)
    model = estimator_plan(LEARNERS[name]()).fit(examples)
    write_tabular(model, tmp_path)
    opened: RowModel = open_tabular(tmp_path)
    answers = opened.answer(examples.inputs)
    assert answers.shape == (120, 2)
    assert answers.sum(axis=1) == pytest.approx(1.0)
    assert answers[:, 1] == pytest.approx(estimator_plan(LEARNERS[name]()).fit(binary).answer(binary.inputs))
    rows = rows_of(opened.inputs, examples.inputs.slice(0, 5))
    assert np.array([opened.predict_row(row) for row in rows]) == pytest.approx(answers[:5], abs=1e-6)


def test_the_exported_program_returns_both_probabilities(tmp_path: Path) -> None:
    examples = two_classes()
    model = estimator_plan(LEARNERS["lightgbm"]()).fit(examples)
    write_tabular(model, tmp_path)
    columns = [{"name": one.name, "kind": one.kind, "required": False, "null": True} for one in model.inputs]
    request = {"columns": columns, "unused": [], "event_time": None, "functions": [], "classes": []}
    (tmp_path / "request.json").write_text(json.dumps(request))
    program = resources.files("tidemill.release") / "exported" / "reading.txt"
    exported = runpy.run_path(str(program), run_name="exported")["Model"](tmp_path)
    rows = examples.inputs.slice(0, 5).to_pylist()
    assert exported.answer(rows) == pytest.approx(model.answer(examples.inputs.slice(0, 5)))


def test_contributions_of_two_classes_are_those_of_the_predicted_one() -> None:
    examples = two_classes()
    model = estimator_plan(LEARNERS["lightgbm"]()).fit(examples)
    parts, base = model.explain(examples.inputs)
    margin = base + parts.sum(axis=1)
    assert 1 / (1 + np.exp(-margin)) == pytest.approx(model.answer(examples.inputs).max(axis=1))


@pytest.mark.parametrize("learn", [{"n_estimators": 5, "num_leaves": 4}, Auto(minutes=0.01)], ids=["lightgbm", "auto"])
def test_training_and_evaluation_of_two_classes(learn: Any, tmp_path: Path) -> None:
    result = train_tabular(
        two_classes(), learn, model="m", folder=_folder(tmp_path), curve=False, effort=SearchBudget(minutes=0.01)
    )
    assert result.assessment is not None
    assert result.model.answer(two_classes().inputs).shape == (120, 2)


def _folder(place: Path) -> Path:
    folder = place / "bundle"
    folder.mkdir()
    return folder
