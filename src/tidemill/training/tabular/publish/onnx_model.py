"""A third-party ONNX graph as a tabular model: by the names of its inputs, or as one matrix of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import NotPublishable, nearest
from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField, Task
from tidemill.models.formats.onnx_check import onnx_session
from tidemill.models.tabular.recipe import NumberColumn, OnnxGraphMember, TabularRecipe
from tidemill.models.tabular.tabular_model import TabularModel

FILE = "model.onnx"
_KINDS: dict[str, Kind] = {
    "tensor(float)": "float",
    "tensor(double)": "float",
    "tensor(int64)": "int",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
}
_FLOATS = ("tensor(float)", "tensor(double)")
#: Names of a graph's output, best first.
_ANSWERS = ("answer", "probabilities", "probability", "output_probability", "variable", "value")


@dataclass(frozen=True)
class GraphTensor:
    """One input or output of a graph: name, type (`tensor(float)`) and shape; a free dimension is not a number."""

    name: str
    type: str
    shape: tuple[Any, ...]

    @property
    def width(self) -> int | None:
        """Numbers per row, if the shape defines it."""
        last = self.shape[1] if len(self.shape) == 2 else 1
        return last if isinstance(last, int) else None


@dataclass(frozen=True)
class OnnxGraph:
    """The inputs and outputs of a graph."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]

    @property
    def output(self) -> GraphTensor:
        """The output: found by name, or the last tensor of floats. Raises `NotPublishable` if there is none."""
        floats = {one.name: one for one in self.outputs if one.type in _FLOATS}
        if not floats:
            kinds = ", ".join(one.type for one in self.outputs)
            raise NotPublishable(
                f"the graph returns {kinds}, but no tensor of floats",
                tip="export it with options={'zipmap': False}",
            )
        return next((floats[name] for name in _ANSWERS if name in floats), list(floats.values())[-1])

    @property
    def is_matrix(self) -> bool:
        """Whether it reads one matrix of floats with several or a free number of columns."""
        only = self.inputs[0]
        return len(self.inputs) == 1 and only.type in _FLOATS and len(only.shape) == 2 and only.width != 1

    def fields(self) -> tuple[InputField, ...]:
        """Inputs as fields, in the graph's order; empty for a matrix, which has no names."""
        if self.is_matrix:
            return ()
        return tuple(InputField(name=one.name, kind=_kind(one)) for one in self.inputs)


def read_graph(raw: bytes) -> OnnxGraph:
    """The inputs and outputs of an ONNX file. Raises `NotPublishable` if it is not ONNX or may not be run."""
    try:
        session = onnx_session(raw)
    except ValueError as problem:
        raise NotPublishable(f"the ONNX graph cannot be used: {problem}") from problem
    tensors = [
        tuple(GraphTensor(one.name, one.type, tuple(one.shape)) for one in side)
        for side in (session.get_inputs(), session.get_outputs())
    ]
    return OnnxGraph(*tensors)


def graph_model(
    raw: bytes, fields: Sequence[InputField], task: Task, classes: tuple[str, ...] = (), target: str = ""
) -> TabularModel:
    """The graph as a model over `fields`. Raises `NotPublishable` if its inputs or output do not match them."""
    graph = read_graph(raw)
    matrix = graph.is_matrix
    k = len(classes) if task == "classes" else 1
    _check(graph, fields, k, task)
    columns = tuple(range(len(fields))) if matrix else None
    return TabularModel(
        TabularRecipe(
            task=task,
            target=target,
            inputs=tuple(fields),
            classes=classes,
            encoders=tuple(NumberColumn(input=field.name) for field in fields) if matrix else (),
            members=(OnnxGraphMember(name="graph", file=FILE, output=graph.output.name, columns=columns),),
            weights=(1.0,),
            bias=(0.0,) * k,
            link="none",
        ),
        {FILE: raw},
    )


def _check(graph: OnnxGraph, fields: Sequence[InputField], k: int, task: Task) -> None:
    known = {field.name: field for field in fields}
    if graph.is_matrix:
        width = graph.inputs[0].width
        texts = [field.name for field in fields if field.kind == "str"]
        if texts or width not in (None, len(fields)):
            raise NotPublishable(
                f"the graph reads a matrix of {width or 'many'} numbers, but the model has {', '.join(known)}",
                tip="name the graph's inputs like the model's inputs, or leave texts out",
            )
    else:
        for one in graph.inputs:
            if one.name not in known:
                raise NotPublishable(
                    f"the graph reads {one.name!r}, which is not an input of the model", tip=nearest(one.name, known)
                )
            _kind(one)
    width = graph.output.width
    if width is not None and width != k and not (k == 1 and task == "binary" and width == 2):
        raise NotPublishable(f"the graph returns {width} numbers per row, but a {task} model has {k}")


def _kind(tensor: GraphTensor) -> Kind:
    if tensor.type not in _KINDS:
        raise NotPublishable(f"the graph's input {tensor.name!r} is {tensor.type}, which is not a supported type")
    if len(tensor.shape) != 2:
        raise NotPublishable(
            f"the graph's input {tensor.name!r} has {len(tensor.shape)} dimensions, but a column has two"
        )
    if tensor.width not in (1, None):
        raise NotPublishable(
            f"the graph's input {tensor.name!r} has {tensor.width} numbers per row, but a column has one"
        )
    return _KINDS[tensor.type]
