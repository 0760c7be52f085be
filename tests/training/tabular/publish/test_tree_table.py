"""Trees of other libraries compare as those libraries do: in float32, with `<` or `<=`, and with their own gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import NotPublishable
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.publish.fitted_trees import lightgbm_link
from tidemill.training.tabular.publish.imported_trees import xgboost_model
from tidemill.training.tabular.publish.tree_table import rounding

NUMBERS = st.floats(-1e30, 1e30)


@given(NUMBERS, NUMBERS, st.booleans(), st.integers(-3, 3))
def test_a_rounded_comparison_is_exact_without_rounding(one: float, threshold: float, strict: bool, off: int) -> None:
    moved = rounding(np.array([threshold]), strict=strict)[0]
    near = np.nextafter(moved, np.inf) if off > 0 else np.nextafter(moved, -np.inf) if off < 0 else moved
    for value in (one, float(near), threshold):
        rounded = float(np.float32(value))
        assert (rounded < threshold if strict else rounded <= threshold) == (value <= moved)


def stump(place: Path, objective: str = "reg:squarederror", **tree: Any) -> Path:
    """XGBoost's JSON of one split: `x < 0.1` gives 1, else and where x is missing 2; the start is 0.5."""
    told = {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_indices": [0, 0, 0],
        "split_conditions": [0.1, 1.0, 2.0],
        "default_left": [0, 0, 0],
        "split_type": [0, 0, 0],
    } | tree
    booster = {"name": "gbtree", "model": {"trees": [told], "tree_info": [0]}}
    learner = {
        "feature_names": ["x"],
        "gradient_booster": booster,
        "objective": {"name": objective},
        "learner_model_param": {"base_score": "[5E-1]", "num_class": "0"},
    }
    file = place / "model.json"
    file.write_text(json.dumps({"learner": learner, "version": [3, 2, 0]}))
    return file


def asked(*values: float | None, task: Any = "number") -> Examples:
    fields = (InputField(name="x", kind="float"),)
    table = pa.table({"x": pa.array(values, pa.float64())})
    classes = ("no", "yes") if task == "binary" else ()
    return Examples(fields, table, np.zeros(len(values)), task, classes)


def test_xgboosts_file_is_read_without_xgboost(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    below = float(np.nextafter(np.float32(0.1), np.float32(-1)))
    rows = asked(below, float(np.float32(0.1)), 0.1, None)  # 0.1 rounds to the threshold itself, so it is not below
    assert xgboost_model(stump(tmp_path), rows).answer(rows.inputs).tolist() == [1.5, 2.5, 2.5, 2.5]
    chances = xgboost_model(stump(tmp_path, "binary:logistic"), asked(0.0, task="binary")).answer(asked(0.0).inputs)
    assert chances == pytest.approx([1 / (1 + np.exp(-1.0))])  # the start is kept as an answer: 0.5 is a margin of 0


def test_what_xgboost_means_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPublishable, match="categorical"):
        xgboost_model(stump(tmp_path, split_type=[1, 0, 0]), asked(0.0))
    with pytest.raises(NotPublishable, match="'rank:ndcg'"):
        xgboost_model(stump(tmp_path, "rank:ndcg"), asked(0.0))


@pytest.mark.parametrize(
    "objective", ["lambdarank", "multiclassova num_class:3", "binary sigmoid:2", "regression sqrt"]
)
def test_objectives_with_other_links_are_refused(objective: str) -> None:
    with pytest.raises(NotPublishable):
        lightgbm_link(objective)
