"""Tensor of a request by the Open Inference Protocol (OIP): name, shape, datatype, and its values in one list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidemill.core.errors import BadRequest
from tidemill.serving.infer import binary_tensors
from tidemill.serving.infer.tensor_values import FAMILY

#: MLServer's content types that do not change the values of a tensor.
_CONTENT = (None, "np", "pd", "str", "datetime")
#: Names that errors may quote.
PLAIN = re.compile(r"[\w .\-:/]{1,128}\Z")


class OipTensor(msgspec.Struct, frozen=True, gc=False):
    """One input; `data` is omitted where binary data follows the JSON. It is never part of a reference cycle, so the
    garbage collector does not track it.
    """

    name: Annotated[str, Meta(min_length=1, max_length=512)]
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=2)]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


def printable_name(tensor: OipTensor, number: int) -> str:
    """A tensor's name if it has only safe characters, else its number: errors quote nothing else of a request."""
    return tensor.name if PLAIN.match(tensor.name) else f"number {number}"


def binary_size(size: Any, left: int, tensor: OipTensor, number: int) -> int:
    """The number of this tensor's bytes among the `left` ones after the JSON."""
    if type(size) is not int or not 0 <= size <= left:
        raise BadRequest(
            f"the tensor {printable_name(tensor, number)}: binary_data_size is outside the body",
            tip="set Inference-Header-Content-Length to the length of the JSON, and append the tensors' bytes",
        )
    return size


def data_of(tensor: OipTensor, number: int, raw: memoryview | None) -> list[Any]:
    """The values of a tensor in one list, with the length that its shape implies."""
    if tensor.datatype not in FAMILY:
        raise BadRequest(
            f"the tensor {printable_name(tensor, number)} has an unknown datatype", tip=f"known: {', '.join(FAMILY)}"
        )
    if tensor.parameters:
        _check_parameters(tensor.parameters, printable_name(tensor, number))
    if raw is not None:
        if tensor.data is not None:
            raise BadRequest(f"the tensor {printable_name(tensor, number)} has both `data` and binary_data_size")
        data = binary_tensors.values(raw, tensor.datatype, printable_name(tensor, number))
    elif tensor.data is None:
        raise BadRequest(f"the tensor {printable_name(tensor, number)} has no data")
    else:
        data = _flat(tensor.data, tensor, number)
    expected = tensor.shape[0] if len(tensor.shape) == 1 else tensor.shape[0] * tensor.shape[1]
    if len(data) != expected:
        raise BadRequest(
            f"the tensor {printable_name(tensor, number)} has {len(data)} values, but the shape {tensor.shape}"
        )
    return data


def _flat(data: list[Any], tensor: OipTensor, number: int) -> list[Any]:
    """The values in row-major order; nested rows are flattened."""
    if len(tensor.shape) == 1 or not data or type(data[0]) is not list:
        return data
    if any(type(row) is not list or len(row) != tensor.shape[1] for row in data):
        raise BadRequest(f"the tensor {printable_name(tensor, number)} has rows that do not match its shape")
    return [value for row in data for value in row]


def _check_parameters(parameters: Mapping[str, Any], name: str) -> None:
    if "shared_memory_region" in parameters:
        raise BadRequest(f"the tensor {name}: shared memory is not supported", tip="send the values")
    if parameters.get("content_type") not in _CONTENT:
        raise BadRequest(f"the tensor {name}: its content_type is not supported", tip="send plain values")
