"""Response by the Open Inference Protocol (OIP): output tensors as JSON, or as binary data after it where requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from tidemill.core.records.release import Release
from tidemill.serving.http.http_messages import HttpResponse
from tidemill.serving.infer import binary_tensors
from tidemill.serving.infer.oip_request import InferRequest
from tidemill.serving.infer.tabular_predictor import PreparedRow

_encode = msgspec.json.Encoder().encode
_NO_STORE = ("cache-control", "no-store")


class LogReceipt(NamedTuple):
    """Whether a prediction is in the log, and the UTC day with which outcomes refer to it."""

    logged: bool
    served_day: str


class OutputTensor(msgspec.Struct, frozen=True):
    """One output; `data` is omitted where binary data follows the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class InferAnswer(msgspec.Struct, frozen=True):
    """A response."""

    model_name: str
    model_version: str
    parameters: dict[str, str | int | bool]
    outputs: list[OutputTensor]
    id: str | None = None


def respond(
    release: Release,
    question: InferRequest,
    rows: Sequence[PreparedRow],
    outputs: Mapping[str, list[Any]],
    logged: LogReceipt,
) -> HttpResponse:
    """The response to a request; `parameters` contains only scalar values, as the protocol requires."""
    tensors, buffers = [], []
    for name, binary in question.outputs:
        tensor, buffer = _tensor(name, outputs[name], binary=binary)
        if name != "label" and release.signature is not None and release.signature.classes:
            tensor.setdefault("parameters", {})["classes"] = classes_text(release.signature.probability_classes)
        tensors.append(tensor)
        if buffer is not None:
            buffers.append(buffer)
    response: dict[str, Any] = {"model_name": release.model, "model_version": str(release.number)}
    if question.id is not None:
        response["id"] = question.id
    parameters = about(release, rows, logged)
    if unseen := unseen_inputs(rows):
        parameters["unseen"] = _encode(unseen).decode()
    response["parameters"] = parameters
    response["outputs"] = tensors
    header = _encode(response)
    if not buffers:
        return HttpResponse(200, header, (_NO_STORE,))
    length = (binary_tensors.HEADER, str(len(header)))
    return HttpResponse(200, b"".join([header, *buffers]), (_NO_STORE, length), "application/octet-stream")


@lru_cache(64)
def classes_text(classes: tuple[str, ...]) -> str:
    """The classes of a tensor's columns as a JSON list: the protocol's parameters are scalars."""
    return _encode(classes).decode()


def about(release: Release, rows: Sequence[PreparedRow], logged: LogReceipt) -> dict[str, Any]:
    """The origin of a response: release, comma-separated prediction ids of the rows, counts of feature statuses."""
    parameters: dict[str, Any] = {
        "release": release.name,
        "prediction_ids": ",".join([row.prediction_id for row in rows]),
        "served_day": logged.served_day,
        "logged": logged.logged,
    }
    if rows[0].status:
        for row in rows:
            for status in row.status.values():
                name = f"features_{status}"
                parameters[name] = parameters.get(name, 0) + 1
    return parameters


def unseen_inputs(rows: Sequence[PreparedRow]) -> dict[int, tuple[str, ...]]:
    """Row, counted from 0 -> its inputs that are unlike the training rows; only rows with such inputs."""
    return {number: row.unseen for number, row in enumerate(rows) if row.unseen}


def _tensor(name: str, values: list[Any], *, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    datatype = "BYTES" if name == "label" else "FP64"
    shape = [len(values)]
    if name == "probabilities":
        shape.append(len(values[0]))
        values = [value for row in values for value in row]
    tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if not binary:
        tensor["data"] = values
        return tensor, None
    buffer = binary_tensors.content(values, datatype)
    tensor["parameters"] = {"binary_data_size": len(buffer)}
    return tensor, buffer
