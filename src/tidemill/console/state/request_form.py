"""Request form of a tabular model: request fields, looked-up and computed inputs, outputs and an example request."""

from __future__ import annotations

from tidemill.console.formatting import span
from tidemill.console.state.bundle_inputs import bundle_inputs
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.core.record_format import Record
from tidemill.core.records.release import Release
from tidemill.core.records.signature import InputField, Signature
from tidemill.serving.infer.infer_operation import curl_request
from tidemill.serving.infer.tensor_values import DATATYPE
from tidemill.serving.process.server_handle import is_serving


class FormField(Record, frozen=True):
    """One field of a request."""

    field: InputField
    datatype: str
    says: str


class FieldOrigin(Record, frozen=True):
    """Inputs that are not request fields: looked up in a view, or computed by a function."""

    #: The view's page for a lookup; empty for a function.
    view: str
    text: str
    gives: tuple[str, ...]
    says: str


class RequestForm(Record, frozen=True):
    """Request fields, inputs filled in by the server, outputs and an example request to copy."""

    fields: tuple[FormField, ...]
    sources: tuple[FieldOrigin, ...]
    outputs: tuple[InputField, ...]
    classes: tuple[str, ...]
    curl: str
    #: Address of the server's OpenAPI document.
    openapi: str


def request_form(release: Release, signature: Signature, stores: ConsoleStores) -> RequestForm:
    """The request of a release with the values of a typical row, for the running server, else for the default port."""
    server = is_serving(stores.serving_root)
    place = f"{server.host}:{server.port}" if server else "127.0.0.1:8400"
    return RequestForm(
        fields=tuple(FormField(field=one, datatype=_datatype(one), says=_role(one)) for one in signature.request),
        sources=_sources(signature),
        outputs=signature.outputs,
        classes=signature.classes,
        openapi=f"http://{place}/openapi.json",
        curl=curl_request(f"http://{place}", release.model, signature, bundle_inputs(stores, release).typical),
    )


def _datatype(field: InputField) -> str:
    return "BYTES or INT64" if field.kind == "time" else DATATYPE[field.kind]


def _role(field: InputField) -> str:
    roles = {
        "subject": "identifies a person; replaced by a pseudonym",
        "event_time": "event time; defaults to now",
        "item": "identifies an item",
    }.get(field.role or "", "")
    return roles if field.optional or roles else "required"


def _sources(signature: Signature) -> tuple[FieldOrigin, ...]:
    looked = [
        FieldOrigin(
            view=one.view,
            text=f"{one.view} by {one.entity}",
            gives=tuple(one.columns),
            says=f"expires after {span(one.ttl_us)} (TTL)" if one.ttl_us else "no expiry (TTL)",
        )
        for one in signature.lookups
    ]
    made = [
        FieldOrigin(
            view="",
            text=f"{one.function}({', '.join(one.takes)})",
            gives=tuple(field.name for field in one.gives),
            says="computed at request time",
        )
        for one in signature.computed
    ]
    return (*looked, *made)
