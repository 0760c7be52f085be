"""OpenAPI document of a server: every route, and each model and stream that it serves (OpenAPI Specification 3.1).

Schemas come from the records by which requests are read and responses are written, so that they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

import tidemill
from tidemill.serving.http.error_responses import ErrorResponse, InferenceError
from tidemill.serving.http.http_messages import CSV, JSON, OCTETS
from tidemill.serving.http.requests import TOKEN
from tidemill.serving.http.routes import Route

#: Schemas of the parts of a path.
_PARTS = {
    "token": {"type": "string", "pattern": f"^{TOKEN.pattern}"},
    "version": {"type": "string", "pattern": "^[1-9][0-9]*$"},
}
#: `WORD` for ECMA-262, whose `\w` has only the letters of ASCII.
_NAME = {"type": "string", "pattern": r"^(?:[0-9A-Za-z_.-]|[^\x00-\x7F]){1,128}$"}
#: Bodies that are no JSON; octets have no schema.
_SCHEMAS = {CSV: {"schema": {"type": "string"}}}
_REFERENCE = "#/components/schemas/{name}"


class NamedOperation(NamedTuple):
    """A route of one model or stream, with its own body: the route's name, the part of its path, and the body."""

    route: str
    part: str
    #: JSON schema of the body; empty for that of the route.
    schema: dict[str, Any]
    #: A body that the route accepts.
    example: Any


def openapi_document(routes: Sequence[Route], named: Iterable[NamedOperation] = ()) -> dict[str, Any]:
    """The document, as JSON values; `named` are the models and streams that are served."""
    types = {kind for route in routes for kind in _types(route)} | {ErrorResponse, InferenceError}
    ordered = sorted(types, key=str)
    made, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schemas = dict(zip(ordered, made, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    by_name = {route.name: route for route in routes}
    for one in named:
        route = by_name[one.route]
        first = re.search(r"\{\w+\}", route.path)
        assert first is not None
        path = route.path.replace(first[0], one.part, 1)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas, one)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "tidemill", "version": tidemill.__version__},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }
    return {name: _portable(part) for name, part in document.items()}


def _types(route: Route) -> list[Any]:
    about = route.operation
    return [kind for kind in (about.body, about.answer, *about.others.values()) if kind is not None]


def _operation(route: Route, schemas: Mapping[Any, Any], named: NamedOperation | None = None) -> dict[str, Any]:
    about = route.operation
    found: dict[str, Any] = {
        "operationId": f"{route.name}_{named.part}" if named else route.name,
        "summary": f"{about.summary}: {named.part}" if named else about.summary,
        "responses": _responses(route, schemas),
    }
    parts = re.findall(r"\{(\w+)\}", route.path)[1 if named else 0 :]
    parameters = [{"name": part, "in": "path", "required": True, "schema": _PARTS.get(part, _NAME)} for part in parts]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in about.query.items()]
    if parameters:
        found["parameters"] = parameters
    if about.body is not None:
        content: dict[str, Any] = {"schema": schemas[about.body]}
        if named:
            content = {"schema": named.schema or content["schema"], "example": named.example}
        others: dict[str, Any] = {media: _SCHEMAS.get(media, {}) for media in route.accepts[1:]}
        found["requestBody"] = {"required": about.required, "content": {JSON: content} | others}
    return found


def _responses(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    about = route.operation
    problem = schemas[InferenceError if route.path.startswith("/v2/") else ErrorResponse]
    success: dict[str, Any] = {}
    if about.answer is not None:
        success = {about.media: {"schema": schemas[about.answer]}}
        if OCTETS in route.accepts:
            success[OCTETS] = {}
    found = {str(about.status): {"description": about.summary, "content": success}}
    for status, kind in about.others.items():
        content = {JSON: {"schema": {"anyOf": [schemas[kind], problem]}}} if kind is not None else {}
        found[str(status)] = {"description": _DESCRIPTIONS[status], "content": content}
    for group, description in (("4XX", "The request is refused."), ("5XX", "The server cannot answer now.")):
        found[group] = {"description": description, "content": {JSON: {"schema": problem}}}
    return found


_DESCRIPTIONS = {304: "The caller has it.", 400: "Not ready, or refused.", 503: "Not ready."}


def _portable(value: Any) -> Any:
    r"""Patterns by ECMA-262, which has no `\Z`."""
    if isinstance(value, dict):
        return {
            name: one.replace(r"\Z", "$") if name == "pattern" and isinstance(one, str) else _portable(one)
            for name, one in value.items()
        }
    return [_portable(one) for one in value] if isinstance(value, list) else value
