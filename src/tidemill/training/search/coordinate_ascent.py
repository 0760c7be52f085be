"""Coordinate ascent: each setting in turn takes its best value while the others are fixed; ties go to the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Returns the value of each list of settings, `None` if it has none; values may be computed in parallel.
Ask = Callable[[Sequence[dict[str, Any]]], Sequence[float | None]]


def coordinate_choice(
    grid: Mapping[str, Sequence[Any]], ask: Ask, *, fixed: Mapping[str, Any], top: float
) -> dict[str, Any]:
    """The chosen value of each setting of `grid`, given the `fixed` ones; `top` is the result of all first values.

    A setting is changed only for a better result.

    >>> coordinate_choice({"a": (1, 2, 3)}, lambda asked: [one["a"] + one["b"] for one in asked], fixed={"b": 1}, top=2)
    {'a': 3}
    """
    best = {name: values[0] for name, values in grid.items()}
    for name, values in grid.items():
        others = values[1:]
        found = ask([{**fixed, **best, name: value} for value in others])
        for value, figure in zip(others, found, strict=True):
            if figure is not None and figure > top:
                best[name], top = value, figure
    return best
