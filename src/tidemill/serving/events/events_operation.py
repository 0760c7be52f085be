"""The OpenAPI operation of a stream: the schema of its events by its contract, and an example that it accepts."""

from __future__ import annotations

from typing import Any

from tidemill.core.contract.contract import Contract, ContractColumn
from tidemill.core.kinds import KINDS
from tidemill.serving.http.openapi import NamedOperation


def events_operation(stream: str, contract: Contract) -> NamedOperation:
    """`POST /v1/events/{stream}` for one stream: an event or a list of them."""
    event = {
        "type": "object",
        "properties": {column.name: _column(column) for column in contract.columns},
        "required": [column.name for column in contract.columns if not column.optional],
        "additionalProperties": False,
    }
    example = {column.name: _example(column) for column in contract.columns if not column.optional}
    schema = {"anyOf": [event, {"type": "array", "minItems": 1, "items": event}]}
    return NamedOperation("events", stream, schema, example)


def _column(column: ContractColumn) -> dict[str, Any]:
    kind = KINDS[column.kind].json_type
    found: dict[str, Any] = {"type": [kind, "null"] if column.optional and column.role != "subject" else kind}
    if column.kind == "time":
        found["format"] = "date-time"
    if column.role in ("subject", "item"):
        found |= {"minLength": 1, "maxLength": 512}
    bounds = {"minimum": column.ge, "maximum": column.le}
    found |= {name: bound for name, bound in bounds.items() if bound is not None and column.kind in ("int", "float")}
    return found | ({"description": column.unit} if column.unit else {})


def _example(column: ContractColumn) -> Any:
    example = KINDS[column.kind].example
    if column.kind in ("int", "float"):
        example = example if column.ge is None else max(example, column.ge)
        example = example if column.le is None else min(example, column.le)
    return example
