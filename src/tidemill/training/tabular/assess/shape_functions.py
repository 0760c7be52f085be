"""Shape functions of an additive model: what it adds to the margin for each value of an input (Hastie 1986)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.core.records.evaluation_charts import ShapeFunction, ShapePoint
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import (
    AdditiveTerm,
    AdditiveTerms,
    DatePart,
    Encoder,
    NumberColumn,
    OneHot,
    Ordinal,
    TabularRecipe,
    TargetMean,
)
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_model import TabularModel

F64 = npt.NDArray[np.float64]
#: A term with the weight of its member.
_Weighted = tuple[float, AdditiveTerm, Encoder]
#: Maximum number of shape functions, of points and of categories of each, and of margins.
_MOST, _POINTS, _CATEGORIES, _MARGINS = 20, 25, 12, 8


def shape_functions(model: RowModel, examples: Examples) -> tuple[ShapeFunction, ...]:
    """The shape functions by falling range, relative to their mean over the training rows; none if the model is not a
    sum of functions of one input each.

    A curve over numbers begins and ends where at least ten of the rows, `examples`, are at or beyond it.
    """
    recipe = model.recipe if isinstance(model, TabularModel) else None
    if recipe is None or len(recipe.bias) > _MARGINS:
        return ()
    terms: list[_Weighted] = []
    for weight, member in zip(recipe.weights, recipe.members, strict=True):
        if not isinstance(member, AdditiveTerms) or member.then:
            return ()
        terms += [(weight, term, recipe.encoders[term.column]) for term in member.terms]
    if any(isinstance(encoder, TargetMean) and len(encoder.inputs) > 1 for _, _, encoder in terms):
        return ()
    inputs = inputs_of(examples.inputs, recipe.inputs)
    found = [shape for field in recipe.inputs for shape in _shapes(field, inputs[field.name], terms, recipe)]
    found.sort(key=lambda shape: -_range(shape))
    return tuple(shape for shape in found[:_MOST] if _range(shape) > 0)


def _shapes(
    field: InputField, column: pa.Array, terms: list[_Weighted], recipe: TabularRecipe
) -> Iterable[ShapeFunction]:
    own = [one for one in terms if field.name in _inputs(one[2])]
    by_part: dict[str, list[_Weighted]] = {}
    for one in own:
        by_part.setdefault(one[2].part if isinstance(one[2], DatePart) else "", []).append(one)
    for part, group in by_part.items():
        k = len(recipe.bias)
        if all(isinstance(encoder, NumberColumn | DatePart) for _, _, encoder in group) and field.kind != "bool":
            values = design_of({field.name: column}, [group[0][2]], len(column))[:, 0]
            points = _numbers(group, np.sort(values[np.isfinite(values)]), len(column), k)
        else:
            points = _categories(field, group, k)
        yield ShapeFunction(input=field.name, part=part, points=tuple(points))


def _inputs(encoder: Encoder) -> tuple[str, ...]:
    return encoder.inputs if isinstance(encoder, TargetMean) else (encoder.input,)


def _numbers(group: list[_Weighted], known: F64, n: int, k: int) -> list[ShapePoint]:
    """`known` are the values of the rows, rising, and `n` the number of rows."""
    points = []
    if len(known) >= 2 * FEWEST_USERS:
        first, last = known[FEWEST_USERS - 1], known[-FEWEST_USERS]
        knots = np.unique(np.clip([knot for _, term, _ in group for knot in term.knots], first, last))
        if len(knots) > _POINTS:
            knots = knots[np.linspace(0, len(knots) - 1, _POINTS).round().astype(np.int64)]
        points += [ShapePoint(at=knot, effects=_added(group, [knot] * len(group), k)) for knot in knots.tolist()]
    if n - len(known) >= FEWEST_USERS:
        points.append(ShapePoint(value="missing", effects=_added(group, [np.nan] * len(group), k)))
    return points


def _categories(field: InputField, group: list[_Weighted], k: int) -> list[ShapePoint]:
    if field.kind == "bool":
        names: dict[str, float] = {"false": 0.0, "true": 1.0}
        return [ShapePoint(value=name, effects=_added(group, [at] * len(group), k)) for name, at in names.items()]
    values = dict.fromkeys(text for _, _, encoder in group for text in _texts(encoder))
    points = [
        ShapePoint(value=text, effects=_added(group, [_encoded(encoder, text) for _, _, encoder in group], k))
        for text in values
    ]
    points.sort(key=lambda point: -max(map(abs, point.effects)))
    return points[:_CATEGORIES]


def _texts(encoder: Encoder) -> Iterable[str]:
    if isinstance(encoder, Ordinal):
        return encoder.codes
    if isinstance(encoder, TargetMean):
        return encoder.values
    return [encoder.value] if isinstance(encoder, OneHot) and encoder.value is not None else []


def _encoded(encoder: Encoder, text: str) -> float:
    if isinstance(encoder, Ordinal):
        return float(encoder.codes.get(text, np.nan))
    if isinstance(encoder, TargetMean):
        return encoder.values.get(text, encoder.other)
    if isinstance(encoder, OneHot):
        return float(encoder.value == text if encoder.value is not None else text not in encoder.known)
    return float("nan")


def _added(group: list[_Weighted], at: list[float], k: int) -> tuple[float, ...]:
    """What the terms add together, each at its own value, relative to their means."""
    total: F64 = np.zeros(k)
    for (weight, term, _), value in zip(group, at, strict=True):
        curve = np.asarray(term.values, np.float64)  # (n_knots, k)
        if np.isnan(value):
            here = np.asarray(term.missing, np.float64)
        else:
            here = np.asarray([np.interp(value, term.knots, curve[:, margin]) for margin in range(k)])
        total += weight * (here - (np.asarray(term.mean, np.float64) if term.mean else 0.0))
    return tuple(total.tolist())


def _range(shape: ShapeFunction) -> float:
    effects = np.asarray([point.effects for point in shape.points])
    return float(np.ptp(effects, axis=0).max()) if len(effects) else 0.0
