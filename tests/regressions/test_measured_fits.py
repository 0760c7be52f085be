"""A fit that only measures is not converted: of the fits of a training, those that are assessed and stored are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimated_rows import rows

from tidemill.core.records.signature import Task
from tidemill.training import train_tabular
from tidemill.training.tabular import estimator_plan
from tidemill.training.tabular.estimator_plan import estimator_plan as plan_of

lightgbm = pytest.importorskip("lightgbm")
SMALL = {"n_estimators": 5, "num_leaves": 4, "verbose": -1}


def test_two_fits_of_a_training_are_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    convert = estimator_plan.published
    monkeypatch.setattr(estimator_plan, "published", lambda *given: converted.append(given) or convert(*given))
    learner = lightgbm.LGBMClassifier(**SMALL, subsample=0.5, subsample_freq=1)
    result = train_tabular(rows("binary", 1_000), learner, model="m", folder=tmp_path / "bundle")
    assert result.assessment is not None
    assert result.assessment.n_fits == 3 and len(result.assessment.curve) > 2
    assert len(converted) == 2


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_it_predicts_as_the_converted_model(task: Task) -> None:
    examples, plan = rows(task, 300), plan_of(SMALL)
    published = plan.fit(examples).answer(examples.inputs)
    assert plan.fit_to_measure(examples).answer(examples.inputs) == pytest.approx(published, rel=1e-6)


def test_rows_that_the_estimator_refuses_are_predicted_by_the_converted_model() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    pytest.importorskip("skl2onnx")
    whole, gaps = rows("number", 300, numbers_only=True, whole=True), rows("number", 300, numbers_only=True)
    model: Any = plan_of(linear.LinearRegression())
    found = model.fit_to_measure(whole).answer(gaps.inputs)
    assert np.array_equal(found, model.fit(whole).answer(gaps.inputs), equal_nan=True)


def test_processes_that_fit_members_import_no_more_than_they_need() -> None:
    pytest.importorskip("pandas")
    code = (
        "import sys, tidemill.training.tabular.automl.member_imports; "
        "assert 'lightgbm' in sys.modules and not {'pandas', 'sklearn', 'scipy.stats'} & set(sys.modules); "
        "import pandas"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
