"""Members of a request: `null` means left out, names are percent-decoded, and no integer is rounded without a word."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from served_model import CHURN, churn_signature

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.errors import BadRequest
from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.core.settings import Serve
from tidemill.serving.events.event_validation import _value
from tidemill.serving.http import requests
from tidemill.serving.http.http_messages import HttpRequest
from tidemill.serving.http.openapi import openapi_document
from tidemill.serving.http.routes import Operation, Route, Routes
from tidemill.serving.infer.infer_operation import infer_operation
from tidemill.serving.infer.invocations import InvocationBody, Invocations
from tidemill.serving.infer.oip_request import InferBody, InferRequest, InferRequestReader
from tidemill.sources import read_csv_body

LARGE = 2**53 + 1
AGE = {"name": "age", "shape": [1], "datatype": "INT64", "data": [31]}
FIELDS = (InputField(name="number", kind="float"), InputField(name="id", kind="int"))
OUTCOME = {"prediction_id": "0123456789abcdef" * 2, "item": "a", "what": "rating"}


def reader(signature: Signature | None = None) -> InferRequestReader:
    usual = Signature(task="number", target="y", request=FIELDS, inputs=FIELDS, outputs=outputs_of("number"))
    return InferRequestReader(signature or usual, lambda _, raw: raw, 100)


def infer(signature: Signature | None = None, **body: Any) -> InferRequest:
    return reader(signature).read(json.dumps(body).encode(), None)


def invoke(query: str = "", **body: Any) -> tuple[str, InferRequest]:
    """The model that `/invocations` asks, and the rows that it reads."""
    asked: list[str] = []
    site = SimpleNamespace(
        model=lambda name: asked.append(name),
        answer=lambda model, request, read, respond, large: read(reader()),
    )
    request = HttpRequest("POST", "/invocations", query, body=json.dumps(body).encode())
    read = cast(InferRequest, Invocations({}, cast(Any, site), read_csv_body, Serve())(request))
    return asked[0], read


@pytest.mark.parametrize(
    "more",
    [
        {"id": None}, {"parameters": None}, {"outputs": None}, {"id": None, "parameters": None, "outputs": None},
        {"outputs": [{"name": "label", "parameters": None}]}, {"inputs": [AGE | {"parameters": None}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_null_member_of_an_infer_request_is_left_out(more: dict[str, Any]) -> None:
    given = {"inputs": [AGE]} | more
    without: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "outputs" in without:
        without["outputs"] = [{"name": "label"}]
    without["inputs"] = [AGE]
    assert infer(churn_signature(), **given) == infer(churn_signature(), **without)


def test_a_null_member_of_invocations_is_left_out() -> None:
    others = dict.fromkeys(("dataframe_records", "inputs", "instances", "params"))
    split = {"columns": ["id"], "data": [[1]], "index": None}
    assert invoke("model=m", dataframe_split=split, **others)[1].columns[1] == [1]


def test_null_members_of_recommendations_and_outcomes_are_left_out() -> None:
    body = requests.recommend(
        json.dumps({"user": "ada", **dict.fromkeys(("n", "context", "exclude"))}).encode(), Serve()
    )
    assert body == requests.recommend(b'{"user": "ada"}', Serve())
    nulls = dict.fromkeys(("value", "label", "model", "served_day", "happened_at"))
    (outcome,) = requests.outcomes(json.dumps(OUTCOME | nulls).encode(), Serve())
    assert [outcome] == requests.outcomes(json.dumps(OUTCOME).encode(), Serve())


def test_the_openapi_document_allows_null_where_the_reader_does() -> None:
    route = Route("infer", "POST", "/v2/models/{model}/infer", lambda _: None, Operation("Infer", InferBody))
    document = openapi_document([route], [infer_operation(CHURN, churn_signature())])
    named = document["paths"]["/v2/models/churn/infer"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"]["InferBody"]
    for member in ("id", "parameters", "outputs"):
        assert "null" in named["properties"][member]["type"]
        assert {"type": "null"} in body["properties"][member]["anyOf"]
    assert InvocationBody.__annotations__["params"].endswith("| None")


@pytest.mark.parametrize("given", ["größe", "gr%C3%B6%C3%9Fe", "gr%c3%b6%c3%9fe"])
def test_a_model_is_named_alike_in_a_query_and_in_a_path(given: str) -> None:
    route = Route("infer", "POST", "/v2/models/{model}/infer", lambda _: None, Operation("Infer"))
    assert Routes([route]).find("POST", f"/v2/models/{given}/infer")[1] == ("größe",)
    assert invoke(f"model={given}", inputs={"id": [1]})[0] == "größe"


@pytest.mark.parametrize(
    ("name", "valid"), [("größe", True), ("m-1.a_b", True), ("a b", False), ("a/b", False), ("", False)]
)
def test_the_openapi_document_describes_names_as_they_are_checked(name: str, valid: bool) -> None:
    route = Route("infer", "POST", "/v2/models/{model}/infer", lambda _: None, Operation("Infer"))
    (parameter,) = openapi_document([route])["paths"]["/v2/models/{model}/infer"]["post"]["parameters"]
    ecma = re.compile(parameter["schema"]["pattern"], re.ASCII)  # as in ECMA-262
    assert bool(ecma.match(name)) is bool(requests.WORD.match(name)) is valid


def test_a_query_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(BadRequest, match="the query is not UTF-8"):
        invoke("model=%FF", inputs={"id": [1]})
    assert requests.query_n("n=%33", Serve()) == 3


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "UINT64"])
def test_infer_refuses_an_integer_that_a_number_field_cannot_hold(datatype: str) -> None:
    tensor = {"name": "number", "shape": [1], "datatype": datatype}
    assert infer(inputs=[tensor | {"data": [2**53]}]).columns[0] == [2.0**53]
    with pytest.raises(BadRequest, match="row 0 is an integer that a 64-bit float cannot hold exactly"):
        infer(inputs=[tensor | {"data": [LARGE]}])


def test_infer_keeps_a_large_id_as_an_integer_and_refuses_it_as_a_float() -> None:
    tensor = {"name": "id", "shape": [1], "data": [LARGE]}
    assert infer(inputs=[tensor | {"datatype": "INT64"}]).columns[1] == [LARGE]
    with pytest.raises(BadRequest, match="cannot hold exactly"):
        infer(inputs=[tensor | {"datatype": "FP64"}])
    with pytest.raises(BadRequest, match="may be a rounded integer"):  # a JSON parser has rounded it to 2**53
        infer(inputs=[tensor | {"datatype": "FP64", "data": [float(LARGE)]}])


@pytest.mark.parametrize(
    "form",
    [
        lambda name, value: {
            "dataframe_split": {"columns": [name], "data": [[value], [0.5 if name == "number" else 1]]}
        },
        lambda name, value: {"dataframe_records": [{name: value}, {name: 1}]},
        lambda name, value: {"inputs": {name: [value]}},
        lambda name, value: {"instances": [{name: value}]},
    ],
    ids=["dataframe_split", "dataframe_records", "inputs", "instances"],
)
def test_invocations_refuse_a_large_number_and_keep_a_large_id(form: Any) -> None:
    with pytest.raises(BadRequest, match="number: row 0 is an integer that a 64-bit float cannot hold exactly"):
        invoke("model=m", **form("number", LARGE))
    assert (invoke("model=m", **form("id", LARGE))[1].columns[1] or [None])[0] == LARGE


def test_an_event_refuses_a_large_number_and_keeps_a_large_id() -> None:
    price, pieces = ContractColumn(name="price", kind="float"), ContractColumn(name="pieces", kind="int")
    assert _value(pieces, LARGE) == LARGE and _value(price, 2**53) == 2.0**53
    for column, value in ((price, LARGE), (pieces, float(LARGE))):
        with pytest.raises(BadRequest, match=column.name):
            _value(column, value)


def test_a_context_keeps_a_large_integer_and_an_outcome_refuses_it() -> None:
    body = requests.recommend(json.dumps({"user": "ada", "context": {"id": LARGE}}).encode(), Serve())
    assert body.context == {"id": LARGE}
    with pytest.raises(BadRequest, match="outcome 0: `value` is an integer"):
        requests.outcomes(json.dumps(OUTCOME | {"value": LARGE}).encode(), Serve())
    assert requests.outcomes(json.dumps(OUTCOME | {"value": 3}).encode(), Serve())[0].value == 3
