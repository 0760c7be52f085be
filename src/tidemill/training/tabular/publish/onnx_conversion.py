"""ONNX conversion of a fitted scikit-learn estimator or pipeline to one graph that reads the inputs by name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tidemill.core.errors import NotPublishable
from tidemill.core.records.signature import InputField
from tidemill.training.tabular.publish.onnx_columns import OnnxColumns
from tidemill.training.tabular.publish.onnx_estimators import converted, estimator_nodes, skl2onnx_types
from tidemill.training.tabular.publish.onnx_nodes import MISSING_TEXT, OnnxNodes

Known = Mapping[str, Sequence[str]]
Conversion = tuple[str, Callable[[], bytes]]


def conversions(fitted: Any, fields: Sequence[InputField], known: Known, width: int) -> Iterator[Conversion]:
    """Ways to convert `fitted` to a graph, the most exact first: a name and a function.

    `known` maps each text input to the texts of the training rows. Each function raises `NotPublishable` if it fails.
    """
    yield "double", cache(lambda: _translated(fitted, fields, known, width))
    yield "skl2onnx, double", cache(lambda: _whole(fitted, fields, width, "DoubleTensorType"))
    yield "skl2onnx, float32", cache(lambda: _whole(fitted, fields, width, "FloatTensorType"))


def _translated(fitted: Any, fields: Sequence[InputField], known: Known, width: int) -> bytes:
    """Conversion by this package's own nodes for preprocessing and estimator."""
    nodes = OnnxNodes(fields)
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


def _whole(fitted: Any, fields: Sequence[InputField], width: int, kind: str) -> bytes:
    """Conversion by skl2onnx alone, of a copy with a placeholder for missing texts."""
    types = skl2onnx_types()
    spoken = _spoken(copy.deepcopy(chosen_of(fitted)))
    if not any(hasattr(part, "transformers_") for part in _parts(spoken)):
        raise NotPublishable(f"{type(fitted).__name__} reads a matrix, which was already tried")
    input_types = [
        (field.name, types.StringTensorType([None, 1]) if field.kind == "str" else getattr(types, kind)([None, 1]))
        for field in fields
    ]
    model = converted(spoken, input_types)
    return _renamed(model, fields, width)


def _renamed(model: Any, fields: Sequence[InputField], width: int) -> bytes:
    """The graph with one output `answer`; for two classes the second one's probability."""
    nodes = OnnxNodes(fields)
    output = model.graph.output[-1].name
    input_types = {one.name: one.type.tensor_type.elem_type for one in model.graph.input}
    feeds = {name: nodes.add("Cast", [name], to=kind) for name, kind in input_types.items()}
    answer = nodes.absorb(model, feeds, output)
    of_two = width == 1 and len(model.graph.output) > 1  # a label and the probabilities of two classes
    return nodes.finish(nodes.take(answer, [1]) if of_two else answer, width)


def _spoken(fitted: Any) -> Any:
    for part in _parts(fitted):
        if hasattr(part, "categories_"):
            part.categories_ = [_named(one) for one in part.categories_]
        if getattr(part, "statistics_", np.zeros(1)).dtype == object:
            part.missing_values = MISSING_TEXT
    return fitted


def _named(categories: Any) -> Any:
    if categories.dtype != object:
        return categories
    return np.array([MISSING_TEXT if one is None or one != one else one for one in categories], object)


def _parts(fitted: Any) -> Iterator[Any]:
    yield fitted
    inner = [part for _, part, *_ in getattr(fitted, "transformers_", ())]
    inner += [part for _, part in getattr(fitted, "steps", ())]
    for part in inner:
        if part is not None and not isinstance(part, str):
            yield from _parts(part)
