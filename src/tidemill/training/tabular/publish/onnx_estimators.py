"""Fitted estimators over a matrix as ONNX nodes.

skl2onnx converts linear models, neighbours, neural networks, naive Bayes, scalers and PCA in double precision without
a difference. In double it fails for trees, histogram boosting, votes and transformed targets, which have nodes of their
own here; for support vectors, AdaBoost and bagging it falls back to float32.
"""

from __future__ import annotations

import warnings
from typing import Any

from tidemill.core.errors import BackendMissing, NotPublishable
from tidemill.training.tabular.publish.fitted_trees import Link, TreeSum, fitted_trees
from tidemill.training.tabular.publish.onnx_nodes import OnnxNodes

_FLOAT, _DOUBLE = 1, 11


def estimator_nodes(fitted: Any, nodes: OnnxNodes, matrix: str, width: int) -> str:
    """The output of `fitted` for a double matrix (n, `width`): the second class's probability, all, or values."""
    name = type(fitted).__name__
    if name == "TransformedTargetRegressor":
        return _turned_back(fitted, nodes, matrix, width)
    if name in ("VotingRegressor", "VotingClassifier") and getattr(fitted, "voting", "soft") == "soft":
        return _voted(fitted, nodes, matrix, width)
    trees = fitted_trees(fitted)
    if trees is not None:
        return summed_nodes(trees, nodes, matrix)
    answer, n_outputs = converted(fitted, nodes, matrix, width, double=nodes.double)
    return nodes.take(answer, [1]) if n_outputs == len(getattr(fitted, "classes_", ())) == 2 else answer


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


def converted(fitted: Any, nodes: OnnxNodes, matrix: str, width: int, *, double: bool = True) -> tuple[str, int]:
    """skl2onnx's last output of any fitted object for a double matrix (n, `width`), as doubles, and its width.

    Without `double`, or where that cannot be run, it computes in float32. Raises `NotPublishable` if neither can.
    """
    reason = ""
    for kind in ("DoubleTensorType", "FloatTensorType")[0 if double else 1 :]:
        try:
            model = _skl2onnx(fitted, kind, width)
        except BackendMissing:
            raise
        except Exception as problem:  # converters may raise anything
            reason = reason or str(problem).strip().split("\n")[0][:200]
            continue
        output = model.graph.output[-1]
        feed = matrix if kind == "DoubleTensorType" else nodes.add("Cast", [matrix], to=_FLOAT)
        answer = nodes.absorb(model, {"matrix": feed}, output.name)
        shape = output.type.tensor_type.shape.dim
        return nodes.add("Cast", [answer], to=_DOUBLE), shape[1].dim_value if len(shape) > 1 else 1
    raise NotPublishable(f"skl2onnx cannot convert {type(fitted).__name__}: {reason}")


def _skl2onnx(fitted: Any, kind: str, width: int) -> Any:
    """A model that ONNX Runtime has opened, because it lacks some operators in double."""
    try:
        from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 - an optional library
        from skl2onnx import convert_sklearn  # noqa: PLC0415 - an optional library
        from skl2onnx.common import data_types  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing(
            "publishing this estimator needs skl2onnx, which is not installed", tip="pip install 'tidemill[onnx]'"
        ) from problem
    types = [("matrix", getattr(data_types, kind)([None, width]))]
    options = {"zipmap": False} if hasattr(fitted, "classes_") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # library warnings about each other; the parity check decides
        model = convert_sklearn(fitted, "part", types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    quiet = SessionOptions()
    quiet.log_severity_level = 4
    InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    return model
