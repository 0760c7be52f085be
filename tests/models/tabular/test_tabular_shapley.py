"""Shapley values of symmetric trees are those of the definition, and those that CatBoost gives."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import tabular_worlds as worlds

from tidemill.core.errors import NotExplained
from tidemill.models.tabular import TabularModel
from tidemill.models.tabular.shapley_values import shapley_table


def expected(leaves: np.ndarray, counts: np.ndarray, row: int, known: set[int], depth: int) -> float:
    """By walking down from the last level: what is known is followed, the rest is weighed by the rows that came."""

    def below(level: int, bits: int) -> float:
        if level < 0:
            return float(leaves[bits])
        sides = [bits, bits | 1 << level]
        if level in known:
            return below(level - 1, sides[row >> level & 1])
        weight = [sum(counts[p] for p in range(1 << depth) if p >> level == side >> level) for side in sides]
        total = sum(weight)
        share = [w / total if total else 0.5 for w in weight]
        return sum(one * below(level - 1, side) for one, side in zip(share, sides, strict=True))

    return below(depth - 1, 0)


@pytest.mark.parametrize("seed", range(6))
def test_they_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 5))
    splits = rng.integers(0, 3, (1, depth))
    leaves, counts = rng.normal(size=(1, 1 << depth, 1)), rng.integers(0, 4, (1, 1 << depth)).astype(float)
    columns, values, base = shapley_table(splits, leaves, counts)
    features = [int(one) for one in columns[0] if one >= 0]
    assert set(features) == set(splits[0].tolist())
    flat = leaves[0, :, 0]
    assert base[0] == pytest.approx(expected(flat, counts[0], 0, set(), depth))
    for row in range(1 << depth):
        for place, feature in enumerate(features):
            total = 0.0
            others = [one for one in features if one != feature]
            for size in range(len(others) + 1):
                weight = factorial(size) * factorial(len(others) - size) / factorial(len(features))
                for chosen in combinations(others, size):
                    without = {level for level in range(depth) if splits[0, level] in chosen}
                    with_it = without | {level for level in range(depth) if splits[0, level] == feature}
                    total += weight * (
                        expected(flat, counts[0], row, with_it, depth) - expected(flat, counts[0], row, without, depth)
                    )
            assert values[0, place, row, 0] == pytest.approx(total, abs=1e-12)


def test_a_border_that_is_never_passed_adds_nothing() -> None:
    """Trees of fewer levels are filled up with one, whose upper leaves no row reaches."""
    leaves = np.array([[[1.0], [2.0], [9.0], [9.0]]])
    columns, values, base = shapley_table(np.array([[0, 1]]), leaves, np.array([[3.0, 1.0, 0.0, 0.0]]))
    assert columns.tolist() == [[0, 1]]
    assert base.tolist() == [1.25]
    assert values[0, 0, :2, 0].tolist() == [-0.25, 0.75]
    assert values[0, 1, :2, 0].tolist() == [0.0, 0.0]


def test_trees_without_weights_are_not_explained() -> None:
    member, parts = worlds.oblivious()
    del parts["even.counts.npy"]
    model = TabularModel(worlds.recipe((member,)), parts)
    table = worlds.table(worlds.rows(3))
    assert len(model.answer(table)) == 3
    with pytest.raises(NotExplained, match="are missing"):
        model.explain(table)


def test_they_are_those_that_catboost_gives() -> None:
    catboost = pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2])
    made = catboost.CatBoostRegressor(
        iterations=20, depth=4, verbose=False, thread_count=1, allow_writing_files=False, random_seed=0
    ).fit(x, y)
    member, parts = arrays_of(made, 4)
    model = TabularModel(
        worlds.recipe(
            (member,), "number", bias=(0.0,), weights=(1.0,), encoders=worlds.ENCODERS[:3] + worlds.ENCODERS[:1]
        ),
        parts,
    )
    ours = model.members[0].contributions(x.astype(np.float64))
    theirs = made.get_feature_importance(
        catboost.Pool(x, y), type="ShapValues", shap_calc_type="Regular", thread_count=1
    )
    np.testing.assert_allclose(model.members[0].margins(x.astype(np.float64), {})[:, 0], made.predict(x), atol=1e-9)
    np.testing.assert_allclose(ours[0][:, 0], theirs[:, :-1], atol=1e-6)
    np.testing.assert_allclose(ours[1][:, 0], theirs[:, -1], atol=1e-6)


def arrays_of(made: Any, width: int) -> tuple[Any, dict[str, Any]]:
    """CatBoost's trees as an `ObliviousTreesMember` member, from its JSON."""
    import json
    import tempfile
    from pathlib import Path

    from tidemill.models.tabular.recipe import ObliviousTreesMember

    with tempfile.TemporaryDirectory() as folder:
        made.save_model(f"{folder}/model.json", format="json")
        about = json.loads(Path(folder, "model.json").read_text())
    depth = max(len(tree["splits"]) for tree in about["oblivious_trees"])
    splits, borders, leaves, counts = [], [], [], []
    for tree in about["oblivious_trees"]:  # one of fewer levels is filled up with a border that is never passed
        more = depth - len(tree["splits"])
        splits.append([split["float_feature_index"] for split in tree["splits"]] + [0] * more)
        borders.append([split["border"] for split in tree["splits"]] + [np.inf] * more)
        empty = [0.0] * ((1 << depth) - len(tree["leaf_values"]))
        leaves.append(tree["leaf_values"] + empty)
        counts.append(tree["leaf_weights"] + empty)
    parts = {
        "c.splits.npy": np.array(splits, np.int32),
        "c.borders.npy": np.array(borders, np.float32),
        "c.leaves.npy": np.array(leaves, np.float64)[:, :, None],
        "c.counts.npy": np.array(counts, np.float64),
    }
    scale, bias = about["scale_and_bias"]
    return ObliviousTreesMember(name="c", columns=tuple(range(width)), bias=tuple(bias), scale=scale), parts
