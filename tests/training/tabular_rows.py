"""Tables whose answer is known by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples


def made(columns: dict[str, Any], target: Any, task: Task, *, time: Any = None, group: Any = None) -> Examples:
    """Examples of lists and arrays: texts stay texts, NaN is missing."""
    fields, arrays = [], []
    for name, values in columns.items():
        array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
        kind = {pa.string(): "str", pa.int64(): "int", pa.bool_(): "bool"}.get(array.type)
        kind = kind or ("time" if pa.types.is_timestamp(array.type) else "float")
        fields.append(InputField(name=name, kind=kind))
        arrays.append(array)
    target = np.asarray(target, np.float64)
    k = {"binary": 2, "classes": int(target.max()) + 1 if task == "classes" else 0}.get(task, 0)
    classes = tuple(f"class {at}" for at in range(k))
    inputs = pa.table(arrays, names=list(columns))
    return Examples(tuple(fields), inputs, target, task, classes, time=time, group=group)


def mixed(task: Task, n: int = 400, seed: int = 0) -> Examples:
    """A number with gaps, a category, and a target that both of them move."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue"], n)
    margin = np.abs(x) * 2 - 1 + (colour == "red") * 1.5
    target: Any = {
        "binary": lambda: rng.random(n) < 1 / (1 + np.exp(-margin)),
        "classes": lambda: (margin > 0).astype(int) + (margin > 1.5),
        "number": lambda: np.exp(margin / 2) * 10 + rng.normal(size=n),
        "count": lambda: rng.poisson(np.exp(margin / 2)),
    }[task]()
    shown = np.where(rng.random(n) < 0.1, np.nan, x)
    texts = pa.array([None if gone else str(one) for one, gone in zip(colour, rng.random(n) < 0.05, strict=True)])
    return made({"x": shown, "colour": texts}, target, task)
