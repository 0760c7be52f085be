"""An ONNX graph built node by node, in double precision where the operators support it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidemill.core.errors import BackendMissing
from tidemill.core.records.signature import InputField

#: Operator sets of every graph; onnxruntime 1.17 and later support them.
OPSETS = {"": 18, "ai.onnx.ml": 5}
_IR = 10
#: Placeholder for a missing text, because ONNX has no null.
MISSING_TEXT = "\x02missing"
#: The name of a graph, and of its output, unless an input is called so.
NAME, _ANSWER = "tidemill", "answer"
#: The input of a graph that reads one matrix.
MATRIX = "matrix"


class OnnxNodes:
    """Nodes and constants of a graph that reads one column (n, 1) per field: `string`, or `double` with NaN.

    With `width` it reads one double matrix (n, width) called `matrix` instead.

    >>> nodes = OnnxNodes((InputField(name="x", kind="float"),))
    >>> nodes.add("Neg", ["x"])
    '_neg_0'
    """

    def __init__(self, fields: Sequence[InputField], width: int | None = None, *, double: bool = True) -> None:
        self.fields = tuple(fields)
        #: Whether an estimator that skl2onnx converts computes in double precision, else in float32.
        self.double = double
        self._width = width
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._known: dict[str, Any] = {}
        #: Starts the names of all nodes and constants, so that none is called like an input.
        self._mark = "_" * (1 + max((len(one.name) - len(one.name.lstrip("_")) for one in self.fields), default=0))
        #: Operator sets, older if a converted part needs it.
        self.opsets = dict(OPSETS)

    @property
    def answer(self) -> str:
        """The name of the graph's output."""
        return f"{self._mark}{_ANSWER}" if any(one.name == _ANSWER for one in self.fields) else _ANSWER

    def add(self, op: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add one node; returns the name of its only output."""
        name = f"{self._mark}{op.lower()}_{len(self._nodes)}"
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(_onnx().helper.make_node(op, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """Add a constant array."""
        name = f"{self._mark}constant_{len(self._constants)}"
        self._constants.append(_onnx().numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def matrix(self, names: Sequence[str]) -> str:
        """Concatenate columns."""
        return names[0] if len(names) == 1 else self.add("Concat", names, axis=1)

    def take(self, matrix: str, columns: Sequence[int]) -> str:
        """Select columns of a matrix, in the given order."""
        return self.add("Gather", [matrix, self.constant(columns, np.int64)], axis=1)

    def absorb(self, model: Any, feeds: Mapping[str, str], output: str) -> str:
        """Add the nodes of a whole ONNX `model`, with inputs from `feeds`; returns the name of its `output`."""
        onnx = _onnx()
        prefix = f"{self._mark}part{len(self._nodes)}_"
        graph = onnx.compose.add_prefix_graph(model.graph, prefix)
        renamed = {prefix + name: feed for name, feed in feeds.items()}
        for node in graph.node:
            node.input[:] = [renamed.get(one, one) for one in node.input]
        self._nodes += graph.node
        self._constants += graph.initializer
        if any(node.op_type.startswith("TreeEnsemble") for node in model.graph.node):
            self.opsets["ai.onnx.ml"] = 3  # newer sets have another operator for trees, which excludes this one
        return prefix + output

    def finish(self, answer: str, width: int) -> bytes:
        """The graph as bytes: it returns a double matrix (n, `width`) called `answer`, the property."""
        onnx = _onnx()
        kind, text = onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING
        double = self.add("Cast", [answer], to=kind)
        last = onnx.helper.make_node(
            "Reshape", [double, self.constant([-1, width], np.int64)], [self.answer], self.answer
        )
        value_info = onnx.helper.make_tensor_value_info
        reads = [value_info(field.name, text if field.kind == "str" else kind, [None, 1]) for field in self.fields]
        graph = onnx.helper.make_graph(
            [*self._nodes, last],
            NAME,
            reads if self._width is None else [value_info(MATRIX, kind, [None, self._width])],
            [value_info(self.answer, kind, [None, width])],
            self._constants,
        )
        opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(self.opsets.items())]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name=NAME)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415 - an optional library
        import onnx.compose  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing(
            "writing an ONNX graph needs onnx, which is not installed", tip="pip install 'tidemill[onnx]'"
        ) from problem
    return onnx
