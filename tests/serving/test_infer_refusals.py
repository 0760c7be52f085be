"""What an infer request may not say: each is refused with a code and a sentence that names the tensor, no value."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from served_client import Client
from served_model import BUYER, CHURN, MODULE, PRICE, SOURCE, buyer, churn, churn_signature, open_models, sized

from tidemill.serving import start

AGE = {"name": "age", "shape": [1], "datatype": "INT64", "data": [31]}
LENGTH = {"name": "length", "shape": [1], "datatype": "FP64", "data": [2.0]}
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    served = open_models(tmp_path_factory.mktemp("refusing") / "project", max_rows=100)
    served.promote(CHURN, churn(), churn_signature())
    served.promote(PRICE, *sized("number", "price"))
    model, signature = buyer()
    served.promote(BUYER, model, signature, modules={MODULE: SOURCE})
    with start(served.plan()) as server:
        server.wait_ready(60)
        yield server.port


@pytest.fixture
def asks(port: int) -> Iterator[Client]:
    client = Client(port)
    yield client
    client.connection.close()


def of(base: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [base | more]}).encode()


def several(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs} | more).encode()


def named(name: str, datatype: str, *data: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


REFUSED = [
    (CHURN, b"{", 400, "not valid JSON"),
    (CHURN, b"\xff\xfe", 400, "not valid JSON"),
    (CHURN, b"[]", 400, "is not valid: "),
    (CHURN, b"{}", 400, "inputs"),
    (CHURN, several(), 400, "inputs"),
    (CHURN, several(AGE, id=5), 400, "id"),
    (CHURN, of(AGE, shape=[]), 400, "shape"),
    (CHURN, of(AGE, shape=[1, 1, 1]), 400, "shape"),
    (CHURN, of(AGE, shape=[-1]), 400, "shape"),
    (CHURN, of(AGE, shape=[True]), 400, "shape"),
    (CHURN, of(AGE, shape=[0], data=[]), 400, "no rows"),
    (CHURN, of(AGE, shape=[101], data=[1] * 101), 413, "101 rows"),
    (CHURN, of(AGE, shape=[10**12]), 413, "rows"),
    (CHURN, of(AGE, shape=[2]), 400, "age has 1 values"),
    (CHURN, of(AGE, shape=[1, 2], data=[1, 2]), 400, "age has the shape"),
    (CHURN, of(AGE, data=[[31]]), 400, "age: row 0 is not INT64"),
    (CHURN, of(AGE, shape=[1, 1], data=[[31, 5]]), 400, "age has rows that do not match its shape"),
    (CHURN, of(AGE, name="agee"), 400, "no input agee (did you mean"),
    (CHURN, of(AGE, name="<script>"), 400, "no input number 0"),
    (CHURN, of(AGE, name="inputs"), 400, "no input inputs"),
    (CHURN, of(AGE, datatype="FP65"), 400, "age has an unknown datatype"),
    (CHURN, of(AGE, datatype="BYTES", data=["31"]), 400, "age is BYTES"),
    (CHURN, of(AGE, datatype="FP64", data=[1.5]), 400, "age: row 0 is not an integer"),
    (CHURN, of(AGE, data=["31"]), 400, "age: row 0 is not INT64"),
    (CHURN, of(AGE, data=[31.0]), 400, "age: row 0 is not INT64"),
    (CHURN, of(AGE, data=[True]), 400, "age: row 0 is not INT64"),
    (CHURN, of(AGE, datatype="INT8", data=[300]), 400, "age: row 0 is not INT8"),
    (CHURN, of(AGE, datatype="UINT64", data=[2**64 - 1]), 400, "age: row 0 is out of range for INT64"),
    (CHURN, of(AGE, data=[2**70]), 400, "age: row 0 is not INT64"),
    (CHURN, of(AGE, data=[None]), 400, "`age` is required, and missing in row 0"),
    (CHURN, several(named("balance", "FP64", 1.0)), 400, "`age` is required, and missing in the request"),
    (CHURN, several(AGE, AGE), 400, "two tensors age"),
    (CHURN, several(AGE, named("balance", "FP64", 1.0, 2.0)), 400, "balance has 2 rows"),
    (CHURN, several(AGE, named("balance", "BOOL", True)), 400, "balance is BOOL"),
    (CHURN, several(AGE, named("balance", "FP64", "1")), 400, "balance: row 0 is not FP64"),
    (CHURN, several(AGE, named("balance", "FP64", 10**400)), 400, "balance: row 0 is too large"),
    (PRICE, b'{"inputs":[{"name":"length","shape":[1],"datatype":"FP64","data":[1e999]}]}', 400, "is not valid: "),
    (CHURN, several(AGE, named("member", "INT64", 2)), 400, "member: row 0 is neither 0 nor 1"),
    (CHURN, several(AGE, named("member", "BOOL", 1)), 400, "member: row 0 is not BOOL"),
    (CHURN, several(AGE, named("plan", "INT64", 1)), 400, "plan is INT64"),
    (CHURN, several(AGE, named("plan", "BYTES", 1)), 400, "plan: row 0 is not BYTES"),
    (CHURN, several(AGE, named("joined", "FP64", 1.0)), 400, "joined is FP64"),
    (CHURN, several(AGE, named("joined", "BYTES", "2026-01-01T00:00:00")), 400, "`joined` has no time zone"),
    (CHURN, several(AGE, named("joined", "BYTES", "yesterday")), 400, "`joined` is not a valid ISO 8601"),
    (CHURN, several(AGE, named("joined", "INT64", 2**62)), 400, "joined: row 0 is outside"),
    (CHURN, of(AGE, data=None), 400, "age has no data"),
    (CHURN, of(AGE, parameters={"shared_memory_region": "x"}), 400, "age: shared memory"),
    (CHURN, of(AGE, parameters={"content_type": "base64"}), 400, "age: its content_type"),
    (CHURN, of(AGE, parameters={"binary_data_size": 8}), 400, "age: binary_data_size"),
    (CHURN, several(AGE, outputs=[{"name": "probabilty"}]), 400, "no output probabilty"),
    (CHURN, several(AGE, outputs=[{"name": "label"}] * 2), 400, "label is requested twice"),
    (CHURN, several(AGE, outputs=[{"name": "label", "parameters": {"classification": 3}}]), 400, "classification"),
    (CHURN, b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "is not valid: "),
    (CHURN, b'{"inputs":[{"name":"age","shape":[1],"datatype":"INT64","data":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
     413, "nested too deeply"),
    (CHURN, several(AGE, named("plan", "BYTES", "x" * (1 << 20))), 413, "larger than"),
    (PRICE, of(LENGTH, name="inputs", shape=[1, 3], data=[1, 2, 3]), 400, "inputs has the shape"),
    (PRICE, of(LENGTH, name="inputs", shape=[1, 2], data=[1, "x"]), 400, "inputs (width): row 0 is not FP64"),
    (PRICE, several(named("inputs", "FP64", 1.0), LENGTH), 400, "no input inputs"),
    (BUYER, several(named("customer", "BYTES", ""), named("amount", "FP64", 1.0)),
     400, "`customer` must be text of 1 to 512"),
    (BUYER, several(named("customer", "BYTES", "x" * 513), named("amount", "FP64", 1.0)),
     400, "`customer` must be text of 1 to 512"),
    (BUYER, several(named("customer", "INT64", 7), named("amount", "FP64", 1.0)), 400, "customer is INT64"),
    ("nope", several(AGE), 404, "no model 'nope'"),
    ("no%20model", several(AGE), 400, "no valid model name"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "status", "says"), REFUSED)
def test_what_does_not_fit_is_refused_by_tensor(asks: Client, model: str, body: bytes, status: int, says: str) -> None:
    found, _, answer = asks("POST", f"/v2/models/{model}/infer", body)
    assert found == status and says in answer["error"], answer
    assert answer["code"] == {400: "TM701", 404: "TM703", 413: "TM702"}[status]


def binary(parameters: dict[str, Any], raw: bytes, **more: Any) -> tuple[bytes, dict[str, str]]:
    content = json.dumps({"inputs": [{"shape": [1], "parameters": parameters} | more]}).encode()
    return content + raw, OCTETS | {"Inference-Header-Content-Length": str(len(content))}


def text(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


BINARY = [
    ({"binary_data_size": 7}, b"1234567", {"name": "age", "datatype": "INT64"}, "age: 7 bytes are not a multiple"),
    ({"binary_data_size": 16}, b"1" * 16, {"name": "age", "datatype": "INT64"}, "age has 2 values"),
    ({"binary_data_size": 9}, b"1" * 8, {"name": "age", "datatype": "INT64"}, "age: binary_data_size"),
    ({"binary_data_size": -8}, b"1" * 8, {"name": "age", "datatype": "INT64"}, "age: binary_data_size"),
    ({"binary_data_size": "8"}, b"1" * 8, {"name": "age", "datatype": "INT64"}, "age: binary_data_size"),
    ({"binary_data_size": 8}, b"1" * 9, {"name": "age", "datatype": "INT64"}, "bytes after those of the last tensor"),
    ({"binary_data_size": 8}, b"1" * 8, {"name": "age", "datatype": "INT64", "data": [1]}, "age has both"),
    ({"binary_data_size": 8}, struct.pack("<d", float("inf")), {"name": "age", "datatype": "FP64"}, "0 is infinite"),
    ({"binary_data_size": 8}, struct.pack("<d", float("nan")), {"name": "age", "datatype": "FP64"},
     "`age` is required"),
    ({"binary_data_size": 1}, b"\x02", {"name": "member", "datatype": "BOOL"}, "member: a BOOL"),
    ({"binary_data_size": 3}, b"\x02\0\0", {"name": "plan", "datatype": "BYTES"}, "plan: its bytes end inside"),
    ({"binary_data_size": 6}, b"\x09\0\0\0ab", {"name": "plan", "datatype": "BYTES"}, "plan: its bytes end inside"),
    ({"binary_data_size": 6}, text(b"\xff\xfe"), {"name": "plan", "datatype": "BYTES"},
     "plan: row 0 is not valid UTF-8"),
    ({"binary_data_size": 8}, b"1" * 8, {"name": "age", "datatype": "BF16"}, "age has an unknown datatype"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "raw", "more", "says"), BINARY)
def test_bytes_that_do_not_fit_are_refused(
    asks: Client, parameters: dict[str, Any], raw: bytes, more: dict[str, Any], says: str
) -> None:
    body, headers = binary(parameters, raw, **more)
    status, _, answer = asks("POST", f"/v2/models/{CHURN}/infer", body, headers)
    assert status == 400 and says in answer["error"], answer


@pytest.mark.parametrize("length", ["0", "-1", "x", "999999", "99999999999999999999", "5"])
def test_a_header_length_that_does_not_fit_is_refused(asks: Client, length: str) -> None:
    headers = OCTETS | {"Inference-Header-Content-Length": length}
    assert asks("POST", f"/v2/models/{CHURN}/infer", several(AGE), headers)[0] == 400


PATH = f"/v2/models/{CHURN}/infer"
MEDIA = [
    ({}, 200),
    ({"Content-Type": "application/json; charset=utf-8"}, 200),
    (OCTETS, 200),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Encoding": "gzip"}, 415),
    ({"Sec-Fetch-Site": "same-origin"}, 415),  # a browser has to declare what it sends
    ({"Sec-Fetch-Site": "none"}, 415),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    (OCTETS | {"Origin": "https://evil.example"}, 403),
    ({"Host": "evil.example"}, 400),
]


@pytest.mark.parametrize(("headers", "status"), MEDIA)
def test_only_programs_may_leave_the_media_type_out(asks: Client, headers: dict[str, str], status: int) -> None:
    given = {"Host": "localhost"} | headers
    asks.connection.putrequest("POST", PATH, skip_host=True)
    for name, value in given.items():
        asks.connection.putheader(name, value)
    body = several(AGE)
    asks.connection.putheader("Content-Length", str(len(body)))
    asks.connection.endheaders(body)
    answer = asks.connection.getresponse()
    said = json.loads(answer.read())
    assert answer.status == status, said
    if status != 200:
        assert isinstance(said["error"], str) and said["code"] in ("TM707", "TM902", "TM903")


def test_an_own_page_on_the_console_may_ask_with_a_declared_body(asks: Client, port: int) -> None:
    origin = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert asks("POST", PATH, several(AGE), origin)[0] == 200


def test_refusals_repeat_no_value(asks: Client) -> None:
    secret = "Very.Secret"
    for body in (
        several(named("customer", "BYTES", secret), named("amount", "BYTES", secret)),
        several(named("customer", "BYTES", secret * 60), named("amount", "FP64", 1.0)),
        several(named("customer", "BYTES", secret), named("at", "BYTES", secret), named("amount", "FP64", 1.0)),
    ):
        status, _, answer = asks("POST", f"/v2/models/{BUYER}/infer", body)
        assert status == 400 and "secret" not in str(answer).lower(), answer
