"""The OpenAPI operation of a tabular model: the schema of its request, and an example that it accepts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from tidemill.core.kinds import KINDS
from tidemill.core.records.signature import InputField, Signature
from tidemill.serving.http.openapi import NamedOperation
from tidemill.serving.infer.tensor_values import DATATYPE, FAMILY, converter

#: Number of fields in the example; further required fields are included too.
_NAMED = 100


def infer_operation(model: str, signature: Signature, values: Mapping[str, Any] | None = None) -> NamedOperation:
    """`POST /v2/models/{model}/infer` for one model; `values` are those of the example."""
    tensors = [_tensor(field) for field in signature.request]
    schema = {
        "type": "object",
        "properties": {
            "inputs": {"type": "array", "minItems": 1, "items": {"anyOf": tensors}},
            "id": {"type": ["string", "null"], "maxLength": 512},
            "parameters": {"type": ["object", "null"]},
            "outputs": {"type": ["array", "null"], "items": _output(signature)},
        },
        "required": ["inputs"],
    }
    return NamedOperation("infer", model, schema, example_request(signature, values))


def curl_request(address: str, model: str, signature: Signature, values: Mapping[str, Any] | None = None) -> str:
    """A command that sends `example_request` to the server at `address`, to paste into a shell."""
    body = json.dumps(example_request(signature, values), ensure_ascii=False)
    url = shlex.quote(f"{address}/v2/models/{model}/infer")
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def example_request(signature: Signature, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A request for one row, with a value for each field that it names: that of `values`, else one of its kind."""
    known = values or {}
    named = [one for one in signature.request if one.role != "event_time" or not one.optional]
    named = [one for place, one in enumerate(named) if place < _NAMED or not one.optional]
    return {
        "inputs": [
            {
                "name": one.name,
                "shape": [1],
                "datatype": datatypes(one)[0],
                "data": [known.get(one.name, KINDS[one.kind].example)],
            }
            for one in named
        ]
    }


def datatypes(field: InputField) -> list[str]:
    """The datatypes that a field accepts, the usual one first."""
    usual = "BYTES" if field.kind == "time" else DATATYPE[field.kind]
    fitting = [name for name, family in FAMILY.items() if converter(field.name, field.kind, family)]
    return [usual, *(name for name in fitting if name != usual)]


def _tensor(field: InputField) -> dict[str, Any]:
    about = [
        f"{KINDS[field.kind].words}",
        *([field.unit] if field.unit else []),
        *([] if field.optional else ["required"]),
    ]
    return {
        "type": "object",
        "title": field.name,
        "description": ", ".join(about),
        "properties": {
            "name": {"const": field.name},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": datatypes(field)},
            "data": {"type": "array"},
            "parameters": {"type": ["object", "null"]},
        },
        "required": ["name", "shape", "datatype", "data"],
    }


def _output(signature: Signature) -> dict[str, Any]:
    names = [field.name for field in signature.outputs]
    return {
        "type": "object",
        "properties": {"name": {"enum": names}, "parameters": {"type": ["object", "null"]}},
        "required": ["name"],
    }
