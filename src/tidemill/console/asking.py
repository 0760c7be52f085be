"""How a tabular model is asked, for people: the fields of a request, what is looked up and computed, and a request."""

from __future__ import annotations

import json
from pathlib import Path

from tidemill.console.words import span
from tidemill.core.kinds import KINDS
from tidemill.core.records import Record
from tidemill.core.release import Release
from tidemill.core.signature import Field, Signature
from tidemill.serving.handle import is_serving
from tidemill.serving.tensor_values import DATATYPE

#: Fields that the example names; the others may be left out, or are required and always named.
_NAMED = 12


class Asked(Record, frozen=True):
    """One field of a request."""

    field: Field
    datatype: str
    says: str


class Source(Record, frozen=True):
    """Inputs that no request brings: looked up in a view, or computed by a function."""

    #: Of a lookup the view's page; empty for a function.
    view: str
    text: str
    gives: tuple[str, ...]
    says: str


class Asking(Record, frozen=True):
    """How to ask, and a request to copy."""

    fields: tuple[Asked, ...]
    sources: tuple[Source, ...]
    outputs: tuple[Field, ...]
    classes: tuple[str, ...]
    curl: str


def asking(release: Release, signature: Signature, serving_root: Path) -> Asking:
    """The request of a release, for the server that runs, else for the usual port of this machine."""
    server = is_serving(serving_root)
    place = f"{server.host}:{server.port}" if server else "127.0.0.1:8400"
    return Asking(
        fields=tuple(Asked(field=one, datatype=_datatype(one), says=_role(one)) for one in signature.request),
        sources=_sources(signature),
        outputs=signature.outputs,
        classes=signature.classes,
        curl=_curl(f"http://{place}/v2/models/{release.model}/infer", signature),
    )


def _datatype(field: Field) -> str:
    return "BYTES or INT64" if field.kind == "time" else DATATYPE[field.kind]


def _role(field: Field) -> str:
    said = {
        "subject": "names a person, who becomes a surrogate",
        "event_time": "when it counts; now unless given",
        "item": "names a thing",
    }.get(field.role or "", "")
    return said if field.optional or said else "required"


def _sources(signature: Signature) -> tuple[Source, ...]:
    looked = [
        Source(
            view=one.view,
            text=f"{one.view} by {one.entity}",
            gives=tuple(one.columns),
            says=f"counts for {span(one.ttl_us)}" if one.ttl_us else "counts for ever",
        )
        for one in signature.lookups
    ]
    made = [
        Source(
            view="",
            text=f"{one.function}({', '.join(one.takes)})",
            gives=tuple(field.name for field in one.gives),
            says="computed at answer time",
        )
        for one in signature.computed
    ]
    return (*looked, *made)


def _curl(address: str, signature: Signature) -> str:
    named = [one for one in signature.request if one.role != "event_time" or not one.optional]
    named = [one for place, one in enumerate(named) if place < _NAMED or not one.optional]
    inputs = [
        {"name": one.name, "shape": [1], "datatype": _example(one), "data": [KINDS[one.kind].example]} for one in named
    ]
    body = json.dumps({"inputs": inputs}, ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s {_quoted(address)} -H 'Content-Type: application/json' -d '{body}'"


def _example(field: Field) -> str:
    return "BYTES" if field.kind == "time" else DATATYPE[field.kind]


def _quoted(address: str) -> str:
    plain = all(letter.isalnum() or letter in "-._~:/" for letter in address)
    return address if plain else "'" + address.replace("'", "'\\''") + "'"
