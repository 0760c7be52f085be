"""A PyTorch module through the hook: what the bundle answers is what the module answers, missing numbers too."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from estimated_rows import rows
from torch_classifier import Net

from tidemill.models.tabular import open_tabular, write_tabular
from tidemill.training.tabular.estimator_plan import EstimatorPlan

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tidemill[torch]'")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning")
def test_a_torch_module_is_published_by_its_own_export(tmp_path: Path) -> None:
    examples = rows("binary", 400, numbers_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        model = EstimatorPlan(Net()).fit(examples)
    write_tabular(model, tmp_path / "bundle")
    opened = open_tabular(tmp_path / "bundle")
    given = opened.predict(examples.inputs)["probability"]
    age = np.asarray(examples.inputs["age"].to_numpy())
    assert np.corrcoef(given[~np.isnan(age)], age[~np.isnan(age)])[0, 1] > 0.8
    one = opened.predict_row([None, 5.0])
    assert opened.predict(examples.inputs.slice(0, 1))["probability"][0] == pytest.approx(given[0], abs=1e-6)
    assert 0 < one[0] < 1
