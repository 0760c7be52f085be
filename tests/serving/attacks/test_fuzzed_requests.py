"""Random requests to every route of a running server, by its own route table: refused or answered, never a failure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_check import DescribedAnswers
from route_table import api_routes
from served_client import Client
from served_model import BUYER, CHURN, SPECIES
from served_shop import MODEL

from tidemill.serving import ServerHandle

pytestmark = pytest.mark.slow
#: Requests to each route.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
AGE = {"name": "age", "shape": [1], "datatype": "INT64", "data": [31]}
NUMBERS = [{"name": name, "shape": [2], "datatype": "FP64", "data": [1.5, 2]} for name in ("length", "width")]
BOUGHT = [
    {"name": "customer", "shape": [1], "datatype": "BYTES", "data": ["somebody@example.org"]},
    {"name": "amount", "shape": [1], "datatype": "FP64", "data": [-13.25]},
    {"name": "at", "shape": [1], "datatype": "BYTES", "data": ["2026-06-01T00:00:00Z"]},
]
#: Valid bodies of the routes that take one.
VALID: dict[str, list[Any]] = {
    "recommend": [{"user": "user1@example.org", "n": 3, "context": {"page": "x", "k": 1}, "exclude": ["item01"],
                   "candidates": ["item02", "item03"]}],
    "events": [{"user_id": "a", "item_id": "item01", "rating": 4, "reviewed_at": "2026-06-01T00:00:00Z"}],
    "outcomes": [[{"prediction_id": "0" * 32, "item": "item01", "what": "click", "value": 1.0, "model": MODEL,
                   "happened_at": "2026-06-01T00:00:00Z", "served_day": "2026-06-01"}]],
    "infer": [{"inputs": [AGE], "outputs": [{"name": "label"}], "id": "a", "parameters": {"binary_data_output": True}},
              {"inputs": NUMBERS}, {"inputs": BOUGHT}],
    "invocations": [{"dataframe_split": {"columns": ["age"], "data": [[1]], "index": [0]}}, {"inputs": {"age": [1]}},
                    {"dataframe_records": [{"age": 1}]}, {"instances": [{"age": 1}], "params": {}}],
}  # fmt: skip
VALID["infer_version"] = VALID["infer"]
VALID["repository_index"] = [{"ready": True, "repository_name": "x"}]
#: Numbers and texts that parsers, stores and arithmetic stumble over, as they stand in JSON.
ODD = (
    "1e400", "-1e400", "NaN", "Infinity", "1" + "0" * 30, "1" + "0" * 400, "-0", "-0.0", "1e-400", "0.1e1", "1E2",
    str(2**63), str(2**63 - 1), str(-(2**63)), str(-(2**63) - 1), str(2**64), str(2**53 + 1), "1e308", "-1e308",
    "true", "null", '""', '"\\u0000"', '"\\ud800"', '"\\n"', '"a\\n"', '"' + "0" * 32 + '\\n"', '"\u202e"',
    '"9999-12-31T23:59:59.999999999Z"', '"0000-00-00"', '"2026-06-01T00:00:00+99:99"', '"' + "x" * 600 + '"',
    '"=1+1"', '"../../etc/passwd"', "[]", "{}", "[[]]", "[" * 900 + "]" * 900, '{"a":1,"a":2}', "\u00a01", "01",
    "+1", "",
)  # fmt: skip
NAMES = (
    MODEL, CHURN, SPECIES, BUYER, "reviews", "nobody", "", "1", "2", "0", "-1", "9" * 30, "9" * 5_000, "a" * 26,
    "a" * 26 + "\n", "..", "%", "\0", "\n", "\u00e9", "²", "a/b", "a;b", "a?b", "x" * 3_000, "__class__", "*",
    "{model}",
)  # fmt: skip
QUERIES = ("", "n=1", "n=0", "n=²", "n=1&n=2", "model=churn", "model=", "n=" + "9" * 400, "%00", "a=b", "&", "=")
VALUES_OF_HEADERS = (
    "*", '"', "W/", "0", "1", "-1", "9" * 40, "identity", "gzip", "00-" + "0" * 32 + "-0-1", "\u00c2\u00b2", "",
)  # fmt: skip
NAMES_OF_HEADERS = (
    "If-None-Match", "traceparent", "Inference-Header-Content-Length", "Accept", "Content-Encoding", "X-A", "Range",
)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(NAMES_OF_HEADERS), st.sampled_from(VALUES_OF_HEADERS), max_size=2)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40))
KEYS = st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=3))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: str) -> str:
    """The JSON of a value with the raw text `by` at one place."""
    mark = "~~here~~"
    changed: Any = json.loads(json.dumps(value))
    if not path:
        return by
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = mark
    return json.dumps(changed).replace(json.dumps(mark), by, 1)


@st.composite
def bodies(draw: st.DrawFn, valid: list[Any]) -> bytes:
    """A body that is valid but for one or two places, or anything."""
    value = draw(st.sampled_from(valid))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=64))
    if kind == 1:
        return json.dumps(draw(VALUES)).encode("utf-8", "surrogatepass")
    path = draw(st.sampled_from(list(places(value))))
    raw = draw(st.sampled_from(ODD)) if kind < 7 else json.dumps(draw(VALUES))
    text = replaced(value, path, raw)
    if kind == 9 and text.startswith("{"):  # a key twice
        text = text[:-1] + "," + text[1:]
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("route", api_routes(), ids=lambda route: str(route.name))
def test_no_request_is_a_failure_of_the_server(servers: list[tuple[ServerHandle, Path]], route: Any) -> None:
    clients = [Client(server.port) for server, _ in servers]
    described = [DescribedAnswers(client("GET", "/openapi.json")[2]) for client in clients]
    parts = route.path.split("/")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        which = data.draw(st.integers(0, 1))
        client = clients[which]
        known = {"model": [MODEL, CHURN, SPECIES, BUYER], "stream": ["reviews"], "version": ["1"], "token": ["a" * 26]}
        filled = [
            data.draw(st.sampled_from(known[part[1:-1]] * 3 + list(NAMES)) | st.text(max_size=9))
            if part[:1] == "{"
            else part
            for part in parts
        ]
        path = "/".join(quote(part.encode("utf-8", "surrogatepass"), safe="") for part in filled)
        if route.name == "invocations":
            path += "?model=" + data.draw(st.sampled_from([CHURN, CHURN, SPECIES, "nobody", "%00", ""]))
        elif query := data.draw(st.sampled_from(QUERIES)):
            path += "?" + quote(query, safe="=&%")
        method = data.draw(st.sampled_from([route.method] * 8 + ["PUT", "DELETE", "OPTIONS"]))
        body = data.draw(bodies(VALID[route.name])) if method == "POST" else None
        headers = data.draw(HEADERS)
        begun = time.monotonic()
        status, about, said = answer(client, method, path, body, headers)
        shown = (method, path, body, headers, status, said)
        assert status < 500 or (status == 503 and said["error"]["code"] in ("TM705", "TM709")), shown
        assert time.monotonic() - begun < 8, shown
        assert about["x-content-type-options"] == "nosniff"
        if method == route.method:
            described[which].check(method, route.path, (status, about, said))
        if status >= 400:
            assert (
                about["content-type"] == "application/json" and "TM000" not in str(said) and "TM700" not in str(said)
            ), shown

    ask()
    for client in clients:
        client.connection.close()
    for _, root in servers:
        log = (root / "server.log").read_text()
        assert "Traceback" not in log and " ERROR " not in log, log[-3_000:]


def answer(client: Client, *given: Any) -> tuple[int, dict[str, str], Any]:
    """The answer, on a new connection where the server has closed this one."""
    for _ in range(3):
        with suppress(ConnectionError, OSError):
            return client(*given)
        client.connection.close()
    raise AssertionError(f"no answer: {given}")
