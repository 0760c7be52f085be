"""Additive member (GAM): a sum of one curve per column, so that every term of a prediction can be plotted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.models.tabular.recipe import AdditiveTerm, AdditiveTerms
from tidemill.models.tabular.tree_member import OfRow

F64 = NDArray[np.float64]


class AdditiveMember:
    """An `AdditiveTerms` member with `k` margins."""

    def __init__(self, member: AdditiveTerms) -> None:
        self._terms, self._bias = member.terms, np.asarray(member.bias, np.float64)

    def margins(self, design: F64, inputs: Any) -> F64:
        """float64 (n, k)."""
        total = np.tile(self._bias, (len(design), 1))
        for term in self._terms:
            total += term_values(term, design[:, term.column])
        return total

    def contributions(self, design: F64) -> tuple[F64, F64]:
        """The contribution of each column beyond its mean, float64 (n, k, n_columns), and the sum of the means (n, k);
        exact, because the terms do not interact.
        """
        values = np.zeros((len(design), len(self._bias), design.shape[1]))
        base = self._bias.copy()
        for term in self._terms:
            mean = np.asarray(term.mean or [0.0] * len(base))
            values[:, :, term.column] += term_values(term, design[:, term.column]) - mean
            base += mean
        return values, np.tile(base, (len(design), 1))

    def row(self) -> OfRow:
        """The function that predicts single rows."""
        k = len(self._bias)
        curves = [[(term.column, _curve(term, at)) for term in self._terms] for at in range(k)]
        biases = self._bias.tolist()
        if k == 1:
            only, bias = curves[0], biases[0]

            def of_row(design: list[float], values: Sequence[Any]) -> Sequence[float]:
                total: float = bias
                for column, curve in only:
                    total += curve(design[column])
                return (total,)

            return of_row
        return lambda design, values: [
            bias + sum(curve(design[column]) for column, curve in of_margin)
            for bias, of_margin in zip(biases, curves, strict=True)
        ]


def term_values(term: AdditiveTerm, column: F64) -> F64:
    """float64 (n, k): the term's value for each value of its column."""
    found = np.empty((len(column), len(term.missing)))
    absent = np.isnan(column)
    for at, missing in enumerate(term.missing):
        found[:, at] = np.interp(column, term.knots, [row[at] for row in term.values])
        found[absent, at] = missing
    return found


def _curve(term: AdditiveTerm, at: int) -> Callable[[float], float]:
    """The term's margin `at` for one value: the result of `np.interp`, without an array."""
    knots, ys, missing = list(term.knots), [row[at] for row in term.values], term.missing[at]
    if len(knots) == 1:
        only = ys[0]
        return lambda x: only if x == x else missing
    slopes = [(ys[i + 1] - ys[i]) / (knots[i + 1] - knots[i]) for i in range(len(knots) - 1)]
    low, high, first, last = knots[0], knots[-1], ys[0], ys[-1]

    def curve(x: float) -> float:
        if x != x:
            return missing
        if x <= low:
            return first
        if x >= high:
            return last
        place = bisect_right(knots, x) - 1
        return slopes[place] * (x - knots[place]) + ys[place]

    return curve
