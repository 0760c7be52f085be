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
from xgboost_files import stump, ubjson

from tidemill.core.errors import NotPublishable
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.publish.fitted_trees import lightgbm_link, xgboost_trees
from tidemill.training.tabular.publish.imported_trees import xgboost_model
from tidemill.training.tabular.publish.tree_table import rounding
from tidemill.training.tabular.publish.xgboost_file import read_xgboost, xgboost_from_bytes

NUMBERS = st.floats(-1e30, 1e30)


@given(NUMBERS, NUMBERS, st.booleans(), st.integers(-3, 3))
def test_a_rounded_comparison_is_exact_without_rounding(one: float, threshold: float, strict: bool, off: int) -> None:
    moved = rounding(np.array([threshold]), strict=strict)[0]
    near = np.nextafter(moved, np.inf) if off > 0 else np.nextafter(moved, -np.inf) if off < 0 else moved
    for value in (one, float(near), threshold):
        rounded = float(np.float32(value))
        assert (rounded < threshold if strict else rounded <= threshold) == (value <= moved)


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


def test_xgboosts_binary_file_is_read_without_xgboost(tmp_path: Path) -> None:
    file = tmp_path / "model.ubj"
    file.write_bytes(ubjson(json.loads(stump(tmp_path).read_bytes())))
    found, text = (xgboost_trees(read_xgboost(one).learner) for one in (file, tmp_path / "model.json"))
    assert found == text


def test_a_file_of_xgboost_without_a_tree_is_refused(tmp_path: Path) -> None:
    file = stump(tmp_path)
    whole = json.loads(file.read_text())
    whole["learner"]["gradient_booster"]["model"] = {"trees": [], "tree_info": []}
    file.write_text(json.dumps(whole))
    with pytest.raises(NotPublishable, match="do not match its trees"):
        xgboost_model(file, asked(0.0))


@pytest.mark.parametrize(
    "tree",
    [
        {"left_children": [0, -1, -1]},
        {"left_children": [2, -1, -1]},
        {"left_children": [7, -1, -1]},
        {"left_children": [-1, -1, -1]},
        {"left_children": [1, 2, -1], "right_children": [2, 1, -1]},
        {"right_children": [10**20, -1, -1]},
        {"split_indices": [1, 0, 0]},
        {"split_indices": [-1, 0, 0]},
        {"split_indices": [2**31 - 1, 0, 0]},
        {"split_conditions": [1e300, 1.0, 2.0]},
        {"split_conditions": [0.1, 1.0]},
        {"left_children": [], "right_children": [], "split_indices": [], "split_conditions": [], "default_left": []},
        {"left_children": "1 -1 -1"},
        {"default_left": [None, 0, 0]},
    ],
)
def test_trees_of_xgboost_that_lead_astray_are_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    with pytest.raises(NotPublishable):
        xgboost_model(stump(tmp_path, **tree), asked(0.0))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("5E-1", "nonsense"), ("5E-1", "Infinity"), ("5E-1", "1e400"), ('"num_class": "0"', '"num_class": "3"'),
        ('"num_class": "0"', '"num_class": "1000000000"'), ('"tree_info": [0]', '"tree_info": [1]'),
        ('"tree_info": [0]', '"tree_info": [-1]'), ('"tree_info": [0]', '"tree_info": []'), ('"gbtree"', '"dart"'),
        ('"learner"', '"other"'), ('"x"', '"y"'), ("{", "[[["),
    ],
)  # fmt: skip
def test_parameters_of_xgboost_that_lie_are_refused(tmp_path: Path, old: str, new: str) -> None:
    file = stump(tmp_path)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(NotPublishable):
        xgboost_model(file, asked(0.0))


@given(place=st.integers(0, 1000), other=st.binary(min_size=1, max_size=9), cut=st.booleans(), text=st.booleans())
def test_damage_to_a_file_of_xgboost_is_refused_or_leaves_trees(
    tmp_path_factory: pytest.TempPathFactory, place: int, other: bytes, cut: bool, text: bool
) -> None:
    whole = stump(tmp_path_factory.getbasetemp()).read_bytes()
    whole = whole if text else ubjson(json.loads(whole))
    place %= len(whole)
    try:
        model = xgboost_from_bytes(whole[:place] + other + (b"" if cut else whole[place + len(other) :]), "m")
        trees = xgboost_trees(model.learner).trees
    except NotPublishable:
        return
    assert all(0 <= one < len(trees.left) or -len(trees.value) <= one < 0 for one in trees.left + trees.right)


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
