"""Fitted estimators over a matrix as ONNX nodes.

Linear models and trees follow their formulas in double precision; everything else is converted by skl2onnx in float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tidemill.core.errors import BackendMissing, NotPublishable
from tidemill.training.tabular.publish.fitted_trees import Link, TreeSum, fitted_trees
from tidemill.training.tabular.publish.onnx_nodes import OnnxNodes

_FLOAT, _DOUBLE = 1, 11
_LOGISTIC = {"LogisticRegression", "LogisticRegressionCV"}
_EXP = {"PoissonRegressor", "GammaRegressor"}
_LINEAR = {"LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "LassoLars"}
_LINEAR |= {"LassoLarsCV", "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "SGDRegressor"}
_LINEAR |= {"QuantileRegressor", "OrthogonalMatchingPursuit", "LinearSVR"}


def estimator_nodes(fitted: Any, nodes: OnnxNodes, matrix: str, width: int) -> str:
    """The output of `fitted` for a double matrix (n, `width`): the second class's probability, all, or values."""
    name = type(fitted).__name__
    if name == "TransformedTargetRegressor":
        return _turned_back(fitted, nodes, matrix, width)
    if name in _LOGISTIC:
        return _linear(fitted, nodes, matrix, "sigmoid" if len(fitted.coef_) == 1 else "softmax")
    if name in _LINEAR | _EXP:
        return _linear(fitted, nodes, matrix, "exp" if name in _EXP else "")
    if name in ("VotingRegressor", "VotingClassifier") and getattr(fitted, "voting", "soft") == "soft":
        return _voted(fitted, nodes, matrix, width)
    trees = fitted_trees(fitted)
    if trees is not None:
        return summed_nodes(trees, nodes, matrix)
    return _converted(fitted, nodes, matrix, width)


def summed_nodes(trees: TreeSum, nodes: OnnxNodes, matrix: str) -> str:
    """The output of trees for a double matrix."""
    sums = trees.trees.node(nodes, matrix, len(trees.start))
    return _linked(nodes, nodes.add("Add", [sums, nodes.constant([trees.start])]), trees.link)


def _voted(fitted: Any, nodes: OnnxNodes, matrix: str, width: int) -> str:
    """The weighted mean of the members' outputs."""
    weights = fitted.weights or [1.0] * len(fitted.estimators_)
    parts = [
        nodes.add("Mul", [estimator_nodes(one, nodes, matrix, width), nodes.constant(weight / sum(weights))])
        for one, weight in zip(fitted.estimators_, weights, strict=True)
        if weight
    ]
    return nodes.add("Sum", parts)


def _linear(fitted: Any, nodes: OnnxNodes, matrix: str, link: Link) -> str:
    slopes = np.atleast_2d(fitted.coef_).T
    product = nodes.add("MatMul", [matrix, nodes.constant(slopes)])
    return _linked(nodes, nodes.add("Add", [product, nodes.constant([np.ravel(fitted.intercept_)])]), link)


def _linked(nodes: OnnxNodes, margins: str, link: Link) -> str:
    if link == "sigmoid":
        return nodes.add("Sigmoid", [margins])
    if link == "softmax":
        return nodes.add("Softmax", [margins], axis=1)
    return nodes.add("Exp", [margins]) if link == "exp" else margins


def _turned_back(fitted: Any, nodes: OnnxNodes, matrix: str, width: int) -> str:
    """A regressor of a transformed target: `exp`, `expm1` and `square` are supported as inverses."""
    answer = estimator_nodes(fitted.regressor_, nodes, matrix, width)
    back = getattr(fitted.inverse_func, "__name__", "") if fitted.transformer is None else ""
    if back in ("exp", "expm1"):
        raised = nodes.add("Exp", [answer])
        return raised if back == "exp" else nodes.add("Sub", [raised, nodes.constant(1.0)])
    if back == "square":
        return nodes.add("Mul", [answer, answer])
    raise NotPublishable(
        f"a target with the inverse transform {back or 'of a transformer'} cannot be converted to ONNX"
    )


def _converted(fitted: Any, nodes: OnnxNodes, matrix: str, width: int) -> str:
    """Conversion by skl2onnx, in float32."""
    types = skl2onnx_types()
    model = converted(fitted, [("matrix", types.FloatTensorType([None, width]))])
    classes = len(getattr(fitted, "classes_", ()))
    output = model.graph.output[-1].name
    answer = nodes.absorb(model, {"matrix": nodes.add("Cast", [matrix], to=_FLOAT)}, output)
    answer = nodes.add("Cast", [answer], to=_DOUBLE)
    return nodes.take(answer, [1]) if classes == 2 else answer


def converted(fitted: Any, types: list[tuple[str, Any]]) -> Any:
    """skl2onnx's graph of any fitted object; raises `NotPublishable` if it cannot be converted."""
    from skl2onnx import convert_sklearn  # noqa: PLC0415 - an optional library

    options = {"zipmap": False} if hasattr(fitted, "classes_") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # library warnings about each other; the parity check decides
            return convert_sklearn(fitted, "part", types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    except Exception as problem:  # converters may raise anything
        said = str(problem).strip().split("\n")[0][:200]
        raise NotPublishable(f"skl2onnx cannot convert {type(fitted).__name__}: {said}") from problem


def skl2onnx_types() -> Any:
    """skl2onnx's types of tensors."""
    try:
        from skl2onnx.common import data_types  # noqa: PLC0415 - an optional library
    except ImportError as problem:
        raise BackendMissing(
            "publishing this estimator needs skl2onnx, which is not installed", tip="pip install 'tidemill[onnx]'"
        ) from problem
    return data_types
