"""Small real ONNX graphs with known answers, and folders that hold them with their cards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

CARD = {"source": "made here", "licence": "CC0-1.0", "revision": "1", "card": "two weights and a bias, for tests"}


def _saved(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    from onnx import checker, helper

    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def linear(weights: tuple[float, ...] = (2.0, -1.0), bias: float = 0.5, *, sigmoid: bool = False) -> bytes:
    """`score` float32 (n, 1) of `vector` float32 (n, 2): a weighted sum, or its sigmoid as `probability`."""
    from onnx import TensorProto, helper, numpy_helper

    told, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    last = "probability" if sigmoid else "score"
    nodes = [helper.make_node("MatMul", ["vector", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["s"])]
    nodes.append(helper.make_node("Sigmoid" if sigmoid else "Identity", ["s"], [last]))
    return _saved(
        nodes,
        [told("vector", kind, [None, len(weights)])],
        [told(last, kind, [None, 1])],
        [
            numpy_helper.from_array(np.array(weights, np.float32)[:, None], "w"),
            numpy_helper.from_array(np.array([bias], np.float32), "b"),
        ],
    )


def endless(columns: int = 2) -> bytes:
    """`out` (n, 1): the sum of `in` float32 (n, columns); it never ends where a value is over 100."""
    from onnx import TensorProto, helper, numpy_helper

    told, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Identity", ["again"], ["still"]), helper.make_node("Identity", ["held"], ["kept"])],
        "body",
        [told("i", TensorProto.INT64, []), told("again", TensorProto.BOOL, []), told("held", kind, None)],
        [told("still", TensorProto.BOOL, []), told("kept", kind, None)],
    )
    nodes = [
        helper.make_node("ReduceMax", ["in"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["go"]),
        helper.make_node("Loop", ["", "go", "in"], ["looped"], body=body),
        helper.make_node("ReduceSum", ["looped", "axes"], ["out"], keepdims=1),
    ]
    constants = [
        numpy_helper.from_array(np.array(100, np.float32), "limit"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    return _saved(nodes, [told("in", kind, [None, columns])], [told("out", kind, [None, 1])], constants)


def named(names: tuple[str, ...] = ("age", "income")) -> bytes:
    """`value` (n, 1): the sum of double inputs of these names."""
    from onnx import TensorProto, helper

    told, kind = helper.make_tensor_value_info, TensorProto.DOUBLE
    return _saved(
        [helper.make_node("Sum", list(names), ["value"])],
        [told(name, kind, [None, 1]) for name in names],
        [told("value", kind, [None, 1])],
        [],
    )


def words(known: tuple[str, ...] = ("good", "bad")) -> bytes:
    """`counts` float32 (n, len(known)): whether a text is each of the known ones."""
    from onnx import TensorProto, helper

    told = helper.make_tensor_value_info
    nodes = [
        helper.make_node("OneHotEncoder", ["texts"], ["counts"], domain="ai.onnx.ml", cats_strings=list(known)),
    ]
    inputs = [told("texts", TensorProto.STRING, [None])]
    return _saved(nodes, inputs, [told("counts", TensorProto.FLOAT, [None, 2])], [])


def folder_of(place: Path, raw: bytes, **said: str) -> Path:
    """A folder with `model.onnx` and `card.json`; what is said as "" is left out of the card."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "model.onnx").write_bytes(raw)
    card = {"sha256": hashlib.sha256(raw).hexdigest(), **CARD, **said}
    (place / "card.json").write_text(json.dumps({key: value for key, value in card.items() if value}))
    return place
