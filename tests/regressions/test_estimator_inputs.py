"""Inputs that a library refuses by name or by value: they train, or a sentence names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tabular_rows import made

from tidemill.core.errors import SettingRefused
from tidemill.models.tabular.examples import Examples
from tidemill.training import train_tabular
from tidemill.training.tabular.estimator_plan import estimator_plan

#: JSON's characters, a blank beside `_`, and names of nodes of an ONNX graph.
NAMES = ("a b", "a_b", "a,b", "a:b", 'a"b', "a[b]", "größe", "answer", "_answer", "cast_0", "constant_0", "matrix")


def rows(names: tuple[str, ...] = NAMES, gaps: tuple[str, ...] = (), n: int = 80) -> Examples:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=n) for name in names}
    target = (columns[names[0]] + columns[names[1]] > 0).astype(float)
    for name in gaps:
        columns[name][::7] = np.nan
    columns["a text"] = pa.array(rng.choice(["x", "y"], n).tolist())
    return made(columns, target, "binary")


def pipeline(last: Any, *, imputed: tuple[str, ...], plain: tuple[str, ...] = ()) -> Any:
    pytest.importorskip("skl2onnx")
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts = OneHotEncoder(handle_unknown="ignore")
    parts = [("i", SimpleImputer(), list(imputed)), ("p", StandardScaler(), list(plain)), ("t", texts, ["a text"])]
    return make_pipeline(ColumnTransformer([part for part in parts if part[2]]), last)


def test_lightgbm_trains_on_any_names_of_inputs() -> None:
    examples = rows()
    model = estimator_plan({"n_estimators": 5, "num_leaves": 4}).fit(examples)
    assert [field.name for field in model.inputs] == [*NAMES, "a text"]
    assert np.corrcoef(model.answer(examples.inputs), examples.target)[0, 1] > 0.5


def test_a_pipeline_is_published_with_any_names_of_inputs() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    examples = rows()
    model = estimator_plan(pipeline(linear_model.LogisticRegression(), imputed=NAMES)).fit(examples)
    assert np.corrcoef(model.answer(examples.inputs), examples.target)[0, 1] > 0.5


def test_missing_values_without_an_imputer_are_refused_by_the_name_of_the_input() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    estimator = pipeline(linear_model.LogisticRegression(), imputed=("age",), plain=("income",))
    with pytest.raises(SettingRefused) as refused:
        estimator_plan(estimator).fit(rows(("age", "income"), gaps=("age", "income")))
    assert "refuses missing values, but some are missing in income (12 of 80 rows)" in refused.value.message
    assert "age" not in refused.value.message
    assert "SimpleImputer() for income" in (refused.value.tip or "")


def test_an_input_without_any_value_is_named_too() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    pytest.importorskip("skl2onnx")
    examples = made({"age": [1.0, 2.0] * 20, "empty": pa.nulls(40, pa.float64())}, [0.0, 1.0] * 20, "binary")
    with pytest.raises(SettingRefused, match=r"empty \(40 of 40 rows\)"):
        estimator_plan(linear_model.LogisticRegression()).fit(examples)


def test_integers_that_floats_cannot_hold_train_and_answer_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 80
    columns: dict[str, Any] = {
        "id": pa.array([2**60 + 2 * one + 1 for one in range(n)], pa.int64()), "a": rng.normal(size=n),
    }  # fmt: skip
    examples = made(columns, (columns["a"] > 0).astype(float), "binary")
    model = estimator_plan({"n_estimators": 5, "num_leaves": 4}).fit(examples)
    answers = model.answer(examples.inputs)
    row = [2**60 + 1, float(columns["a"][0])]
    assert model.predict_row(row)[-1] == pytest.approx(answers[0], abs=1e-12)
    plan = estimator_plan({"n_estimators": 5, "num_leaves": 4})
    assert train_tabular(examples, plan, model="m", folder=tmp_path / "bundle").n_rows == n
