"""Examples of which the truth is known, a plan that learns them fast, and the real ones."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.auto_plan import AutoPlan
from tidemill.training.tabular.automl.member_settings import Curves
from tidemill.training.tabular.rows.row_losses import USUAL

DAY = 86_400_000_000
_ADULT = (
    "age workclass fnlwgt education education_num marital occupation relationship race sex gain loss hours country "
    "income"
)


def rows(n: int = 2_000, *, task: Task = "binary", seed: int = 0, **more: Any) -> Examples:
    """`x` and `shop` matter, `noise` does not; a plan can learn it well but not perfectly."""
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=n), rng.normal(size=n)
    shop = rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2])
    margin = 1.5 * x + np.where(shop == "west", 1.0, -0.5)
    fields = (
        InputField(name="x", kind="float"),
        InputField(name="noise", kind="float"),
        InputField(name="shop", kind="str"),
    )
    inputs = pa.table({"x": x, "noise": noise, "shop": pa.array(shop.tolist(), pa.string())})
    target = {
        "binary": lambda: (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(np.float64),
        "classes": lambda: np.digitize(margin + rng.logistic(size=n), [-1.0, 1.0]).astype(np.float64),
        "number": lambda: margin + rng.normal(size=n),
        "count": lambda: rng.poisson(np.exp(0.5 * margin)).astype(np.float64),
    }[task]()
    classes = {"binary": ("no", "yes"), "classes": ("low", "middle", "high")}.get(task, ())
    return Examples(fields, inputs, target, task, classes, row=np.arange(n), **more)


def curves_plan(task: Task = "binary", n_classes: int = 3) -> AutoPlan:
    """A sum of curves: the fastest plan there is."""
    bias = (0.0,) * (n_classes if task == "classes" else 1)
    return AutoPlan(
        task=task, measure=USUAL[task], members=(Curves(name="additive", ridge=3.0),), weights=(1.0,), bias=bias
    )


def with_input(examples: Examples, name: str, kind: Kind, column: Any) -> Examples:
    """The same rows with one more input."""
    return replace(
        examples,
        fields=(*examples.fields, InputField(name=name, kind=kind)),
        inputs=examples.inputs.append_column(name, column),
    )


def adult(folder: Path) -> Examples:
    """Census income: 48,842 rows; above 50,000 dollars is positive."""
    parts = []
    for file in ("adult_train.csv.gz", "adult_test.csv.gz"):
        raw = gzip.decompress((folder / file).read_bytes()).decode().replace(", ", ",")
        parts.append(pl.read_csv(io.StringIO(raw), has_header=False, new_columns=_ADULT.split(), null_values="?"))
    table = pl.concat(parts).filter(pl.col("income").is_not_null())
    target = table["income"].str.starts_with(">50K").cast(pl.Float64).to_numpy()
    return _typed(table.drop("income"), target, ("<=50K", ">50K"))


def churn(file: Path) -> Examples:
    """Telecom customers: 7,043 rows, 27% of whom left."""
    table = pl.read_csv(file, null_values=[" ", ""])
    target = (table["Churn"] == "Yes").cast(pl.Float64).to_numpy()
    return _typed(table.drop("customerID", "Churn"), target, ("No", "Yes"))


def _typed(table: pl.DataFrame, target: Any, classes: tuple[str, str]) -> Examples:
    kinds: dict[str, Kind] = {name: "str" if kind == pl.String else "float" for name, kind in table.schema.items()}
    arrow = {"str": pa.string(), "float": pa.float64()}
    columns = {name: table[name].to_arrow().cast(arrow[kind]) for name, kind in kinds.items()}
    fields = tuple(InputField(name=name, kind=kind) for name, kind in kinds.items())
    return Examples(fields, pa.table(columns), target, "binary", classes, row=np.arange(len(target)))
