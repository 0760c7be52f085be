"""ONNX conversion of a fitted scikit-learn estimator or pipeline to one graph that reads the inputs by name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from tidemill.core.records.signature import InputField
from tidemill.training.tabular.publish.onnx_columns import OnnxColumns
from tidemill.training.tabular.publish.onnx_estimators import estimator_nodes
from tidemill.training.tabular.publish.onnx_nodes import OnnxNodes

Known = Mapping[str, Sequence[str]]
Conversion = tuple[str, Callable[[], bytes]]


def conversions(fitted: Any, fields: Sequence[InputField], known: Known, width: int) -> Iterator[Conversion]:
    """Ways to convert `fitted` to a graph, the most exact first: a name and a function.

    `known` maps each text input to the texts of the training rows. An estimator that skl2onnx converts is in double, or
    else in float32. Each function raises `NotPublishable` if it fails.
    """
    yield "double", cache(lambda: _translated(fitted, OnnxNodes(fields), known, width))
    yield "float32", cache(lambda: _translated(fitted, OnnxNodes(fields, double=False), known, width))


def _translated(fitted: Any, nodes: OnnxNodes, known: Known, width: int) -> bytes:
    steps, last = _apart(fitted)
    matrix, columns = OnnxColumns(nodes, known).matrix(steps)
    return nodes.finish(estimator_nodes(last, nodes, matrix, columns), width)


def _apart(fitted: Any) -> tuple[list[Any], Any]:
    fitted = chosen_of(fitted)
    if not hasattr(fitted, "steps"):
        if type(fitted).__name__ == "TransformedTargetRegressor" and hasattr(fitted.regressor_, "steps"):
            steps, last = _apart(fitted.regressor_)
            inner = copy.copy(fitted)
            inner.regressor_ = last
            return steps, inner
        return [], fitted
    steps, last = [], None
    for _, step in fitted.steps:
        if step is not None and not isinstance(step, str):
            steps, last = [*steps, last] if last is not None else steps, step
    inner_steps, last = _apart(last) if hasattr(last, "steps") else ([], last)
    flat = [part for step in steps for part in ([s for _, s in step.steps] if hasattr(step, "steps") else [step])]
    return [*flat, *inner_steps], chosen_of(last)


def chosen_of(fitted: Any) -> Any:
    """The best estimator of a search, or `fitted` itself."""
    return getattr(fitted, "best_estimator_", fitted)
