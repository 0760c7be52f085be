"""Contributions of inputs to a prediction (SHAP): what each input adds to the margin, relative to the expected value.

Members return Shapley values of the design's columns. Those of columns that read one input are summed; a column that
reads several inputs together (`TargetMean` of a crossed key) is shared equally among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import NotExplained
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.link_functions import apply_output_transform, output_transform_slope
from tidemill.models.tabular.recipe import TabularRecipe, TargetMean

F64 = NDArray[np.float64]
#: Contributions are refused if their sum misses the margin by more than this share of it.
_FAR = 1e-6


def contributions(recipe: TabularRecipe, members: list[Any], inputs: pa.Table) -> tuple[F64, F64]:
    """`(contributions (n, n_inputs), base (n))`, whose sum is the margin; with several classes that of the largest one.

    If a member is transformed (`then`), its values are scaled so that they still sum to the margin: the rescale rule of
    Shrikumar et al. (2017), no longer exact Shapley values. Raises `NotExplained`.
    """
    columns = inputs_of(inputs, recipe.inputs)
    n, k = len(inputs), len(recipe.bias)
    design = design_of(columns, recipe.encoders, n)
    values, base = np.zeros((n, k, design.shape[1])), np.tile(np.asarray(recipe.bias, np.float64), (n, 1))
    margins = base.copy()
    for weight, member, about in zip(recipe.weights, members, recipe.members, strict=True):
        own = member.margins(design, columns)
        each, start = member.contributions(design)
        if np.abs(start + each.sum(axis=2) - own).max(initial=0) > _FAR * (1 + np.abs(own).max(initial=0)):
            raise NotExplained(f"the contributions of {about.name!r} do not add up to its margin")
        values += weight * each * output_transform_slope(start, own, about.then)[:, :, None]
        base += weight * apply_output_transform(start, about.then)
        margins += weight * apply_output_transform(own, about.then)
    row, largest = np.arange(n), margins.argmax(axis=1)
    values, base = values[row, largest], base[row, largest]
    if recipe.task == "classes" and k == 1:  # the margin of the first class is that of the second, negated
        sign = np.where(margins[:, 0] > 0, 1.0, -1.0)
        values, base = values * sign[:, None], base * sign
    return values @ _shares(recipe), base


def _shares(recipe: TabularRecipe) -> F64:
    """float64 (n_columns, n_inputs): the share of each input in a column."""
    places = {field.name: place for place, field in enumerate(recipe.inputs)}
    found = np.zeros((len(recipe.encoders), len(recipe.inputs)))
    for column, encoder in enumerate(recipe.encoders):
        inputs = encoder.inputs if isinstance(encoder, TargetMean) else (encoder.input,)
        for name in inputs:
            found[column, places[name]] += 1 / len(inputs)
    return found
