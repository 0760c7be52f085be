"""Estimators of `xgboost.spark` are fitted by Spark and published like XGBoost's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimated_rows import rows

from tidemill.backends.spark import SparkEngine
from tidemill.core.errors import BackendMissing, NotPublishable
from tidemill.core.records.signature import Task
from tidemill.training.tabular.estimator_plan import estimator_from, estimator_plan

xgboost = pytest.importorskip("xgboost", reason="no XGBoost for this platform")
pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SMALL = {"n_estimators": 8, "max_depth": 3, "num_workers": 2}


@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_the_published_trees_predict_like_those_of_one_process(spark: SparkEngine, task: Task) -> None:
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

    examples = rows(task)
    number = task == "number"
    plan = estimator_plan((SparkXGBRegressor if number else SparkXGBClassifier)(**SMALL))
    model = plan.fit(examples, seed=3)  # raises unless the trees predict what XGBoost does
    found = model.answer(examples.inputs)
    own: Any = (xgboost.XGBRegressor if number else xgboost.XGBClassifier)(n_estimators=8, max_depth=3)
    expected = estimator_plan(own).fit(examples, seed=3).answer(examples.inputs)
    assert found.shape == expected.shape
    scale = np.ptp(expected)
    assert np.mean(np.abs(found - expected)) < 0.05 * scale


def test_settings_make_the_same_estimator_again(spark: SparkEngine) -> None:
    from xgboost.spark import SparkXGBClassifier

    plan = estimator_plan(SparkXGBClassifier(**SMALL, random_state=5))
    settings = plan.settings()
    assert plan.name == "SparkXGBClassifier"
    assert {name: settings["parameters"][name] for name in (*SMALL, "random_state")} == {**SMALL, "random_state": 5}
    assert {"xgboost", "pyspark"} == set(settings["versions"])
    assert estimator_from(settings["parameters"]).settings() == settings


def test_a_regressor_of_classes_is_refused(spark: SparkEngine) -> None:
    from xgboost.spark import SparkXGBRegressor

    with pytest.raises(NotPublishable, match="does not learn"):
        estimator_plan(SparkXGBRegressor(**SMALL)).fit(rows("binary"))


def test_without_spark_it_is_refused_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession
    from xgboost.spark import SparkXGBClassifier

    monkeypatch.setattr(SparkSession, "getActiveSession", classmethod(lambda cls: None))
    with pytest.raises(BackendMissing) as refused:
        estimator_plan(SparkXGBClassifier(**SMALL)).fit(rows("binary"))
    assert "engine" in str(refused.value.tip)
