"""The OpenAPI document is valid, has every route, model and stream, and its examples are answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openapi_check import DescribedAnswers
from openapi_spec_validator import OpenAPIV31SpecValidator
from route_table import api_routes
from served_client import Client
from served_model import BUYER, CHURN, SPECIES
from served_shop import MODEL

from tidemill.serving import ServerHandle

pytestmark = pytest.mark.slow


def test_the_document_is_valid_and_has_every_route(servers: list[tuple[ServerHandle, Path]]) -> None:
    for server, _ in servers:
        client = Client(server.port)
        with closing(client.connection):
            status, about, document = client("GET", "/openapi.json")
        assert (status, about["content-type"]) == (200, "application/json")
        assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
        for route in api_routes():
            assert route.method.lower() in document["paths"][route.path], route.path


def test_every_example_is_answered_as_described(servers: list[tuple[ServerHandle, Path]]) -> None:
    seen = set()
    for server, _ in servers:
        client = Client(server.port)
        with closing(client.connection):
            described = DescribedAnswers(client("GET", "/openapi.json")[2])
            for path, method, example in examples(described.document):
                answer = client(method, path, example)
                assert answer[0] in (200, 202), (path, example, answer)
                described.check(method, path, answer)
                seen.add(path)
    predicting = {f"/v2/models/{name}/infer" for name in (CHURN, SPECIES, BUYER)}
    assert seen == {f"/v1/recommend/{MODEL}", "/v1/events/reviews"} | predicting


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, operations in document["paths"].items():
        for method, about in operations.items():
            content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                yield path, method.upper(), content["example"]
