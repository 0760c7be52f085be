"""Link functions: margins to predictions, with clipping, and each member's output transform (`then`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
#: exp of a larger margin is no plausible count.
MOST = 700.0


def apply_output_transform(margins: F64, then: str) -> F64:
    """A member's margins after its transform: `square` of the positive part, or `exp`."""
    if then == "square":
        return np.square(np.maximum(margins, 0.0))
    return np.exp(np.minimum(margins, MOST)) if then == "exp" else margins


def output_transform_slope(start: F64, end: F64, then: str) -> F64:
    """The slope of the transform between `start` and `end`: 1 without a transform."""
    if not then:
        return np.ones_like(end)
    way = end - start
    short = np.abs(way) < 1e-9
    steep = (apply_output_transform(end, then) - apply_output_transform(start, then)) / np.where(short, 1.0, way)
    return np.where(
        short, 2 * np.maximum(start, 0.0) if then == "square" else apply_output_transform(start, then), steep
    )


def apply_output_transform_one(then: str) -> Callable[[float], float] | None:
    """`apply_output_transform` for one margin; `None` without a transform."""
    if then == "square":
        return lambda margin: max(margin, 0.0) ** 2
    return (lambda margin: math.exp(min(margin, MOST))) if then == "exp" else None


def apply_link(margins: F64, link: str) -> F64:
    """Predictions float64 (n, k) of margins (n, k)."""
    if link == "sigmoid":
        small = np.exp(-np.abs(margins))
        return np.where(margins >= 0, 1.0, small) / (1.0 + small)
    if link == "softmax":
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        found: F64 = raised / raised.sum(axis=1, keepdims=True)
        return found
    return np.exp(np.minimum(margins, MOST)) if link == "exp" else margins


def apply_link_one(link: str) -> Callable[[Sequence[float]], list[float]]:
    """`apply_link` for the margins of one row."""
    return {"sigmoid": _sigmoid, "softmax": _softmax, "exp": _exp}.get(link, list)


def _sigmoid(margins: Sequence[float]) -> list[float]:
    margin = margins[0]
    small = math.exp(-abs(margin))
    return [(1.0 if margin >= 0 else small) / (1.0 + small)]


def _softmax(margins: Sequence[float]) -> list[float]:
    most = max(margins)
    raised = [math.exp(margin - most) for margin in margins]
    total = sum(raised)
    return [one / total for one in raised]


def _exp(margins: Sequence[float]) -> list[float]:
    return [math.exp(min(margin, MOST)) for margin in margins]
