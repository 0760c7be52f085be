"""Tabular models that several tests ask: rows of every kind of input, and members over all encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.records.signature import InputField
from tidemill.models.tabular.recipe import (
    AdditiveTerm,
    AdditiveTerms,
    DatePart,
    NumberColumn,
    ObliviousTreesMember,
    OneHot,
    OnnxGraphMember,
    Ordinal,
    TabularRecipe,
    TargetMean,
    TreesMember,
)

TEXTS = ["red", "green", "blue", ""]
FIELDS = (
    InputField(name="size", kind="float"),
    InputField(name="rooms", kind="int"),
    InputField(name="new", kind="bool"),
    InputField(name="colour", kind="str"),
    InputField(name="town", kind="str"),
    InputField(name="sold", kind="time"),
)
TYPES = [pa.float64(), pa.int64(), pa.bool_(), pa.string(), pa.string(), pa.timestamp("us", tz="UTC")]
ENCODERS = (
    NumberColumn(input="size"),
    NumberColumn(input="rooms"),
    NumberColumn(input="new"),
    NumberColumn(input="sold"),
    Ordinal(input="colour", codes={"red": 0, "green": 1, "blue": 2}),
    OneHot(input="town", value="x"),
    OneHot(input="colour", value=None, known=("red", "green")),
    TargetMean(inputs=("colour",), values={"red": 0.25, "": -1.5}, other=0.5),
    TargetMean(inputs=("colour", "town"), values={"red\x1fx": 1.0, "\x1fy": 2.0, "blue\x1f": 3.0}, other=0.1),
    Ordinal(input="rooms", codes={"3": 7, "-1": 8}),
    OneHot(input="new", value="true"),
    DatePart(input="sold", part="hour"),
    DatePart(input="sold", part="weekday"),
    DatePart(input="sold", part="month"),
    DatePart(input="sold", part="day"),
    DatePart(input="sold", part="year"),
)
WIDTH = len(ENCODERS)


def table(rows: list[list[Any]]) -> pa.Table:
    """Rows as `predict_row` takes them, as a table."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(FIELDS)
    return pa.table(
        {
            field.name: pa.array(column, pa.int64()).cast(kind) if field.kind == "time" else pa.array(column, kind)
            for field, column, kind in zip(FIELDS, columns, TYPES, strict=True)
        }
    )


def rows(n: int, seed: int = 0) -> list[list[Any]]:
    rng = np.random.default_rng(seed)

    def some(values: list[Any]) -> list[Any]:
        return [None if missing else value for value, missing in zip(values, rng.random(n) < 0.1, strict=True)]

    columns = [
        some(rng.normal(size=n).tolist()),
        some(rng.integers(-1, 6, n).tolist()),
        some((rng.random(n) < 0.5).tolist()),
        some(rng.choice([*TEXTS, "never seen"], n).tolist()),
        some(rng.choice(["x", "y", "z"], n).tolist()),
        some(rng.integers(-(10**14), 2 * 10**15, n).tolist()),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def additive(name: str = "curves", k: int = 1, seed: int = 3) -> AdditiveTerms:
    rng = np.random.default_rng(seed)

    def term(column: int, knots: tuple[float, ...]) -> AdditiveTerm:
        values = tuple(tuple(rng.normal(size=k).tolist()) for _ in knots)
        return AdditiveTerm(
            column=column, knots=knots, values=values, missing=(0.5,) * k, mean=tuple(rng.normal(size=k).tolist())
        )

    terms = (term(0, (-1.0, 0.0, 0.7)), term(1, (0.0, 1.0, 2.0, 3.0)), term(8, (0.0, 3.0)), term(5, (0.0,)))
    return AdditiveTerms(name=name, terms=terms, bias=(0.3,) * k)


def oblivious(
    name: str = "even", k: int = 1, trees: int = 12, depth: int = 4, seed: int = 5
) -> tuple[ObliviousTreesMember, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    columns = tuple(range(WIDTH))
    parts = {
        f"{name}.splits.npy": rng.integers(0, WIDTH, (trees, depth)).astype(np.int32),
        f"{name}.borders.npy": rng.normal(size=(trees, depth)).astype(np.float32),
        f"{name}.leaves.npy": rng.normal(size=(trees, 1 << depth, k)),
        f"{name}.counts.npy": rng.integers(0, 9, (trees, 1 << depth)).astype(np.float64),
    }
    return ObliviousTreesMember(name=name, columns=columns, bias=(0.2,) * k, scale=0.5), parts


def boosted(name: str = "boosted", k: int = 1, trees: int = 20) -> tuple[TreesMember, dict[str, Any]]:
    """LightGBM over the whole design, with a column that it splits by categories."""
    import lightgbm

    from tidemill.models.tabular.design_matrix import design_of, inputs_of

    n = 600
    design = design_of(inputs_of(table(rows(n, 1)), FIELDS), ENCODERS, n)
    target = (np.nan_to_num(design[:, 0]) + (design[:, 4] == 1) > 0.5).astype(int) + (np.nan_to_num(design[:, 1]) > 3)
    objective = {"objective": "multiclass", "num_class": k} if k > 1 else {"objective": "regression"}
    settings = {
        **objective, "num_leaves": 9, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5,
        "min_data_per_group": 5, "max_cat_to_onehot": 1, "cat_smooth": 1,
    }  # fmt: skip
    data = lightgbm.Dataset(design, target, categorical_feature=[4, 9], params=settings)
    text = lightgbm.train(settings, data, trees).model_to_string()
    assert "cat_threshold" in text
    return TreesMember(name=name, file=f"{name}.txt", columns=tuple(range(WIDTH))), {f"{name}.txt": text.encode()}


def graph(columns: int, *, domain: str = "") -> bytes:
    """An ONNX graph: the sum of a float matrix (n, columns), as `out` (n, 1)."""
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceSum", ["in", "axes"], ["out"], keepdims=1, domain=domain)
    made = helper.make_graph(
        [node],
        "sum",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())


def summed(name: str = "graph") -> tuple[OnnxGraphMember, dict[str, Any]]:
    return OnnxGraphMember(name=name, file=f"{name}.onnx", output="out", columns=(5, 7, 8)), {f"{name}.onnx": graph(3)}


def recipe(members: tuple[Any, ...], task: str = "binary", **more: Any) -> TabularRecipe:
    k = 3 if task == "classes" else 1
    classes = {"binary": ("no", "yes"), "classes": ("a", "b", "c")}.get(task, ())
    link = {"binary": "sigmoid", "classes": "softmax", "number": "identity", "count": "exp"}[task]
    given: dict[str, Any] = {
        "task": task, "target": "y", "inputs": FIELDS, "classes": classes, "encoders": ENCODERS, "members": members,
        "weights": tuple(1.0 / (place + 1) for place in range(len(members))), "bias": (0.05,) * k, "link": link,
    }  # fmt: skip
    return TabularRecipe(**(given | more))
