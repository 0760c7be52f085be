"""Trees of scikit-learn, LightGBM and XGBoost as one tree table, whose sums are margins or probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import NotPublishable
from tidemill.training.tabular.publish.tree_table import ArrayTree, TreeTable, rounding
from tidemill.training.tabular.publish.xgboost_file import XgboostLearner, XgboostTree, xgboost_from_bytes

Link = Literal["", "sigmoid", "softmax", "exp"]
MOST_CLASSES = 10_000
_FORESTS = {"RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree"}


@dataclass(frozen=True)
class TreeSum:
    """Trees, the initial value of each target, and the link function of the sums."""

    trees: TreeTable
    start: tuple[float, ...]
    link: Link


def fitted_trees(fitted: Any) -> TreeSum | None:
    """The trees of a fitted estimator; `None` for an unknown type.

    Two classes have one target, more classes one each; a forest of two classes returns the second one's probability.
    """
    name = type(fitted).__name__
    if any(name in (f"{kind}Classifier", f"{kind}Regressor") for kind in _FORESTS):
        return _forest(fitted)
    if name.startswith("GradientBoosting") and hasattr(fitted, "estimators_"):
        return _boosted(fitted)
    if name.startswith("HistGradientBoosting"):
        return _histogram(fitted)
    if name.startswith("LGBM"):
        return _lightgbm(fitted)
    if name.startswith("XGB"):
        return xgboost_trees(xgboost_from_bytes(bytes(fitted.get_booster().save_raw("json")), name).learner)
    return None


def _array_tree(tree: Any) -> ArrayTree:
    """A tree of scikit-learn, which rounds values to float32 before comparing."""
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, bool))
    return ArrayTree(tree.feature, rounding(tree.threshold), missing, tree.children_left, tree.children_right)


def _forest(fitted: Any) -> TreeSum:
    members = getattr(fitted, "estimators_", [fitted])
    classes = len(getattr(fitted, "classes_", ()))
    table = TreeTable()
    for member in members:
        tree = member.tree_
        values = tree.value[:, 0, :] / len(members)
        if classes:
            values = values / np.maximum(values.sum(axis=1, keepdims=True) * len(members), 1e-300)
        _grown(table, _array_tree(tree), values[:, 1:] if classes == 2 else values)
    return TreeSum(table, (0.0,) * (classes if classes > 2 else 1), "")


def _grown(table: TreeTable, tree: ArrayTree, values: Any) -> None:
    for target in range(values.shape[1]):
        table.grow(tree, target, values[:, target])


def _boosted(fitted: Any) -> TreeSum:
    table = TreeTable()
    for stage in fitted.estimators_:
        for target, member in enumerate(stage):
            table.grow(_array_tree(member.tree_), target, member.tree_.value[:, 0, 0] * fitted.learning_rate)
    start = fitted._raw_predict_init(np.zeros((1, fitted.n_features_in_), np.float32))[0]
    link: Link = "" if not hasattr(fitted, "classes_") else "sigmoid" if len(start) == 1 else "softmax"
    return TreeSum(table, tuple(float(one) for one in start), link)


def _histogram(fitted: Any) -> TreeSum:
    if fitted.is_categorical_ is not None and np.any(fitted.is_categorical_):
        raise NotPublishable("categorical features of HistGradientBoosting cannot be published")
    table = TreeTable()
    for stage in fitted._predictors:
        for target, member in enumerate(stage):
            at = member.nodes
            leaf = at["is_leaf"].astype(bool)
            left = np.where(leaf, -1, at["left"].astype(np.int64))
            column, threshold = np.where(leaf, 0, at["feature_idx"]), np.where(leaf, 0.0, at["num_threshold"])
            tree = ArrayTree(column, threshold, at["missing_go_to_left"], left, at["right"].astype(np.int64))
            table.grow(tree, target, at["value"])
    start = np.ravel(fitted._baseline_prediction)
    link: Link = "exp" if getattr(fitted, "loss", "") in ("poisson", "gamma") else ""
    if hasattr(fitted, "classes_"):
        link = "sigmoid" if len(start) == 1 else "softmax"
    return TreeSum(table, tuple(float(one) for one in start), link)


# ---- other libraries


def _lightgbm(fitted: Any) -> TreeSum:
    """Trees of LightGBM over numbers, as the last step of a pipeline."""
    dump = fitted.booster_.dump_model()
    targets, table = dump["num_tree_per_iteration"], TreeTable()
    scale = 1.0 / (len(dump["tree_info"]) // targets) if dump["average_output"] else 1.0
    for number, tree in enumerate(dump["tree_info"]):
        table.root(_dumped(table, tree["tree_structure"], number % targets, scale))
    return TreeSum(table, (0.0,) * targets, lightgbm_link(str(dump["objective"])))


def lightgbm_link(objective: str) -> Link:
    """The link of an objective in LightGBM's notation: `binary sigmoid:1`. Raises if it has another."""
    name, *rest = objective.split()
    if name in ("binary", "cross_entropy") and set(rest) <= {"sigmoid:1"}:
        return "sigmoid"
    if name == "multiclass":
        return "softmax"
    if name in ("poisson", "gamma", "tweedie"):
        return "exp"
    if name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape") and "sqrt" not in rest:
        return ""
    raise NotPublishable(f"LightGBM's objective {objective!r} is not supported", tip="use a standard objective")


def _dumped(table: TreeTable, node: dict[str, Any], target: int, scale: float) -> int:
    if "leaf_value" in node:
        return table.leaf(target, node["leaf_value"] * scale)
    if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
        raise NotPublishable("categorical or sparse splits of LightGBM inside a pipeline cannot be published")
    # If training had no missing values, LightGBM reads NaN as zero.
    is_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
    place = table.inner(node["split_feature"], float(node["threshold"]), bool(is_left))
    table.left[place] = _dumped(table, node["left_child"], target, scale)
    table.right[place] = _dumped(table, node["right_child"], target, scale)
    return place


def xgboost_trees(learner: XgboostLearner) -> TreeSum:
    """Trees from XGBoost's file; it rounds values to float32 and goes left if they are below the threshold.

    Raises `NotPublishable` if they are not trees over its columns.
    """
    booster, name = learner.gradient_booster, learner.objective.name
    if booster.name != "gbtree":
        raise NotPublishable(f"XGBoost's booster {booster.name[:40]!r} is not supported", tip="use `gbtree`")
    links: dict[str, Link] = {"binary:logistic": "sigmoid", "multi:softprob": "softmax", "count:poisson": "exp"}
    links |= {"reg:gamma": "exp", "reg:tweedie": "exp", "reg:logistic": "sigmoid"}
    link = links.get(name, "")
    if not link and not name.startswith("reg:"):
        raise NotPublishable(f"XGBoost's objective {name[:40]!r} is not supported")
    parameters, trees = learner.learner_model_param, booster.model
    try:
        start = np.atleast_1d(json.loads(parameters.base_score)).astype(np.float32).astype(float)
        classes, columns = max(int(parameters.num_class), 1), int(parameters.num_feature) or 1
        if classes > MOST_CLASSES:
            raise ValueError(f"{classes} classes are too many")
        start = np.broadcast_to(start, (classes,))
        with np.errstate(all="ignore"):
            margins = tuple(_margins(start.tolist(), link))
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as problem:
        raise NotPublishable(f"XGBoost's parameters cannot be read: {str(problem)[:200]}") from problem
    if not np.isfinite(margins).all() or not 0 < len(trees.trees) == len(trees.tree_info):
        raise NotPublishable("XGBoost's parameters do not match its trees")
    table = TreeTable()
    for number, (tree, target) in enumerate(zip(trees.trees, trees.tree_info, strict=True)):
        if any(tree.split_type):
            raise NotPublishable("categorical splits of XGBoost cannot be published", tip="encode texts first")
        try:
            arrays, values = _xgboost_tree(tree, columns)
        except (ValueError, IndexError) as problem:
            raise NotPublishable(f"tree {number} of XGBoost's file is not a tree: {problem}") from problem
        if not 0 <= target < classes:
            raise NotPublishable(f"tree {number} of XGBoost's file has an unknown target")
        table.grow(arrays, target, values)
    return TreeSum(table, margins, link)


def _xgboost_tree(tree: XgboostTree, columns: int) -> tuple[ArrayTree, NDArray[np.float64]]:
    """The nodes that the root leads to, each by one path, and the value of each; pruned nodes are left out."""
    n = len(tree.left_children)
    lists = (tree.right_children, tree.split_indices, tree.split_conditions, tree.default_left)
    if not n or any(len(one) != n for one in lists):
        raise ValueError("the lengths of its arrays differ")
    order, places = [0], {0: 0}
    for node in order:
        children = (tree.left_children[node], tree.right_children[node])
        if children == (-1, -1):
            continue
        if not 0 <= tree.split_indices[node] < columns:
            raise ValueError("it uses an unknown column")
        for child in children:
            if not 0 <= child < n or child in places:
                raise ValueError("a child index is out of bounds, or a node has two parents")
            places[child] = len(order)
            order.append(child)
    with np.errstate(over="ignore"):
        found = np.asarray(tree.split_conditions, np.float32).astype(np.float64)[order]
    if not np.isfinite(found).all():
        raise ValueError("a threshold or the value of a leaf is not a number")
    left, right = (
        np.asarray([places.get(children[node], -1) for node in order])
        for children in (tree.left_children, tree.right_children)
    )
    column = np.where(left < 0, 0, np.asarray(tree.split_indices)[order])
    missing = np.asarray(tree.default_left)[order]
    return ArrayTree(column, rounding(found, strict=True), missing, left, right), found


def _margins(start: Iterable[float], link: Link) -> Iterable[float]:
    """XGBoost stores its base score as a prediction, not as a margin; for classes as a margin."""
    if link == "sigmoid":
        return (float(np.log(one / (1 - one))) for one in start)
    return (float(np.log(one)) for one in start) if link == "exp" else start
