"""Rows of a known making for estimators: numbers with gaps, texts with gaps, a target of any task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples

NUMBERS, TEXTS = ["age", "income"], ["city", "job"]
FIELDS = (
    InputField(name="age", kind="float"),
    InputField(name="income", kind="float"),
    InputField(name="city", kind="str"),
    InputField(name="job", kind="str"),
)
CLASSES = {"binary": ("no", "yes"), "classes": ("low", "mid", "high")}


def rows(task: Task, n: int = 600, *, numbers_only: bool = False, whole: bool = False, seed: int = 0) -> Examples:
    """`whole` leaves no value missing."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n).round(1)
    city = rng.choice(["Aachen", "Bonn", "Den Haag", "Øster"], n).astype(object)
    score = age + 10 * (city == "Aachen") + rng.normal(0, 5, n)
    if not whole:
        age[::7] = np.nan
        city[::5] = None
    table = pa.table(
        {
            "age": pa.array(age, from_pandas=True),
            "income": np.exp(rng.normal(5, 1, n)).round(2),
            "city": pa.array(city.tolist(), pa.string()),
            "job": pa.array(rng.choice(["clerk", "smith"], n).tolist()),
        }
    )
    target = {
        "binary": (score > 42).astype(float),
        "classes": np.digitize(score, [35, 45]).astype(float),
        "number": score,
        "count": np.round(np.abs(score) / 10),
    }[task]
    fields = FIELDS[:2] if numbers_only else FIELDS
    return Examples(fields, table.select([field.name for field in fields]), target, task, CLASSES.get(task, ()))


def prepared(last: Any, texts: Any = None, numbers: Any = None) -> Any:
    """A pipeline of a ColumnTransformer and `last`."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    usual = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [("n", numbers or usual, NUMBERS), ("t", texts or OneHotEncoder(handle_unknown="ignore"), TEXTS)]
    )
    return Pipeline([("columns", columns), ("model", last)])
