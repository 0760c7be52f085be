"""Attacks on the routes of tabular models: none is answered, none costs more than its bytes, and others are served."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from served_client import Client
from served_model import CHURN, CHURN_FIELDS, Served, additive, churn, churn_signature, graph_of, open_models
from small_graphs import endless

from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.serving import ServerHandle, start

AGE = {"name": "age", "shape": [1], "datatype": "INT64", "data": [31]}
GOOD = {"inputs": [AGE]}
INFER = f"/v2/models/{CHURN}/infer"
ASKED = (INFER, f"/v2/models/{CHURN}/versions/1/infer", f"/invocations?model={CHURN}")
#: Names that a page, a shell, a query, a spreadsheet, a terminal or a path would take for more than a text.
HOSTILE = (
    "<script>alert(1)</script>", '"><svg/onload=alert(1)>', "{{7*7}}", "=HYPERLINK(1)", "'; DROP TABLE x; --",
    "../../etc/passwd", "%2e%2e%2f", "a\nb 1\ntidemill_predictions_total 9", "\u202eevil", "\x1b[31mred", "__class__",
)  # fmt: skip

#: Those of them that say nothing to any of these, in JSON.
PLAIN = ("__class__", "../../etc/passwd")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = open_models(tmp_path_factory.mktemp("attacked") / "project", max_rows=100, max_in_flight=32)
    made.promote(CHURN, churn(), churn_signature())
    fields = tuple(InputField(name=name, kind="float", optional=True) for name in HOSTILE)
    hostile = additive("classes", HOSTILE[0], fields, [0.1] * len(fields), HOSTILE[:3])
    signature = Signature(
        task="classes", target=HOSTILE[0], request=fields, inputs=fields, outputs=outputs_of("classes"),
        classes=HOSTILE[:3],
    )  # fmt: skip
    made.promote("hostile", hostile, signature)
    return made


@pytest.fixture(scope="module")
def server(served: Served) -> Iterator[ServerHandle]:
    with start(served.plan()) as running:
        running.wait_ready(60)
        yield running


class Patient(Client):
    """Asks again on a new connection where the server hung up before it had all of what it refuses."""

    def __call__(self, *given: Any, **more: Any) -> tuple[int, dict[str, str], Any]:
        for _ in range(5):
            with suppress(BrokenPipeError, ConnectionResetError):
                return super().__call__(*given, **more)
            self.connection.close()
        raise AssertionError("the server hangs up and says nothing")


@pytest.fixture
def asks(server: ServerHandle) -> Iterator[Client]:
    client = Patient(server.port)
    yield client
    client.connection.close()
    again = Client(server.port)
    assert again("POST", INFER, GOOD)[0] == 200, "others are not served any more"
    again.connection.close()


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc", "%252e%252e", "..;", "..", "a%00b", "a%5cb", "%2fetc%2fpasswd", "churn%0d%0aX:%20y", "x" * 5_000],
)
@pytest.mark.parametrize("path", ["/v2/models/{}", "/v2/models/{}/infer", f"/v2/models/{CHURN}/versions/{{}}/infer"])
def test_a_path_is_no_way_out(asks: Client, name: str, path: str) -> None:
    method = "POST" if path.endswith("infer") else "GET"
    status, about, said = asks(method, path.format(name), GOOD if method == "POST" else None)
    assert status in (400, 404, 405, 414), said
    assert "x:" not in str(about).lower().replace("x-", "") and "/etc" not in str(said)
    status, _, said = asks("POST", f"/invocations?model={name}", {"inputs": [{"age": 1}]})
    assert status in (400, 404), said


DEEP = b"[" * 200_000 + b"]" * 200_000
BODIES = {
    "nested 200,000 deep": (DEEP, {400, 413}),
    "nested in data": (b'{"inputs":[{"name":"age","shape":[1],"datatype":"INT64","data":' + DEEP + b"}]}", {400, 413}),
    "nested parameters": (b'{"parameters":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", {400, 413}),
    "two megabytes": (b'{"inputs":[' + b" " * (2 << 20) + b"]}", {413}),
    "NaN": (b'{"inputs":[{"name":"balance","shape":[1],"datatype":"FP64","data":[NaN]}]}', {400}),
    "an infinite number": (b'{"inputs":[{"name":"balance","shape":[1],"datatype":"FP64","data":[1e999]}]}', {400}),
    "a long number": (b'{"inputs":[{"name":"age","shape":[1],"datatype":"INT64","data":[' + b"9" * 500_000 + b"]}]}",
                      {400}),
    "a shape that lies": (json.dumps({"inputs": [AGE | {"shape": [10**15]}]}).encode(), {400, 413}),
    "15,000 tensors": (json.dumps({"inputs": [AGE] * 15_000}).encode(), {400, 413}),
    "a pickle": (pickle.dumps(GOOD), {400}),
    "gzip": (gzip.compress(b" " * 10_000_000), {400}),
    "a surrogate": (b'{"inputs":[{"name":"plan","shape":[1],"datatype":"BYTES","data":["\\ud800"]},'
                    b'{"name":"age","shape":[1],"datatype":"INT64","data":[1]}]}', {400}),
}  # fmt: skip


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("what", BODIES)
def test_a_body_costs_no_more_than_its_bytes(asks: Client, server: ServerHandle, path: str, what: str) -> None:
    body, statuses = BODIES[what]
    before_s = cpu_s(server)
    status, _, said = asks("POST", path, body)
    assert status in statuses, said
    assert cpu_s(server) - before_s < 2
    assert len(str(said)) < 1_000


ROWS = {
    "records that each bring another column": {"dataframe_records": [{f"k{i}": 1} for i in range(60_000)]},
    "one record of many columns": {"inputs": [{f"k{i}": 1 for i in range(60_000)}]},
    "a thousand columns": {"instances": [{f"k{i}": 1 for i in range(1_000)}] * 60},
    "rows of nothing": {"dataframe_split": {"columns": [], "data": [[]] * 200_000}},
    "columns without rows": {"dataframe_split": {"columns": [f"k{i}" for i in range(60_000)], "data": []}},
    "a column twice": {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}},
    "ragged rows": {"dataframe_split": {"columns": ["age"], "data": [[1], []]}},
    "a column of columns": {"inputs": {"age": [{"a": 1}]}},
}


@pytest.mark.parametrize("what", ROWS)
def test_tables_cost_no_more_than_their_bytes(asks: Client, server: ServerHandle, what: str) -> None:
    before, before_s = peak_mb(server), cpu_s(server)
    status, _, said = asks("POST", f"/invocations?model={CHURN}", ROWS[what])
    assert status in (400, 413), said
    assert cpu_s(server) - before_s < 2
    assert peak_mb(server) - before < 250


def processes(server: ServerHandle) -> list[Path]:
    """The supervisor and its children, below /proc."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [Path("/proc") / pid for pid in (str(server.pid), *children)]


def peak_mb(server: ServerHandle) -> float:
    """The most memory that any process of the server had."""
    lines = [line for one in processes(server) for line in (one / "status").read_text().splitlines()]
    return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def cpu_s(server: ServerHandle) -> float:
    """The CPU time of the server: unlike the time that passes, it says nothing of a busy machine."""
    stats = [(one / "stat").read_text().rpartition(")")[2].split() for one in processes(server)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def wire(server: ServerHandle, sent: bytes, answers: int = 1) -> bytes:
    """What the server says to raw bytes, until so many answers are there or it hangs up."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as opened, suppress(OSError):
        with suppress(OSError):  # it may hang up before it has read all
            opened.sendall(sent)
        while found.count(b"HTTP/1.1 ") < answers and (block := opened.recv(65_536)):
            found += block
        opened.settimeout(0.2)
        found += opened.recv(65_536)
    return found


def posted(body: bytes, *headers: str, path: str = INFER) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


SMUGGLED = json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", f"Content-Length: {len(SMUGGLED)}"),
        (f"Content-Length: {len(SMUGGLED)}", "Transfer-Encoding: chunked"),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Transfer-Encoding: chunked, identity",),
    ],
)
def test_conflicting_lengths_are_refused(asks: Client, server: ServerHandle, headers: tuple[str, ...]) -> None:
    hidden = posted(b"", "Content-Length: 0", path="/v2/models/nobody/infer")
    said = wire(server, posted(SMUGGLED + hidden, *headers), answers=2)
    assert b" 200 " not in said.split(b"\r\n", 1)[0]
    assert b"nobody" not in said, "a second request was read out of the first one's body"


def test_pipelined_requests_are_answered_one_after_the_other(asks: Client, server: ServerHandle) -> None:
    one = posted(SMUGGLED, f"Content-Length: {len(SMUGGLED)}")
    said = wire(server, one * 20, answers=20)
    assert said.count(b"HTTP/1.1 200") == 20


def test_slow_headers_and_bodies_hold_nobody_up(asks: Client, server: ServerHandle) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(150)]
    try:
        for place, opened in enumerate(slow):
            half = posted(b"{", "Content-Length: 1000") if place % 3 else b"POST /v2 HTTP/1.1\r\nHost: 127"
            opened.sendall(half)
        for _ in range(20):
            assert asks("POST", INFER, GOOD)[0] == 200
        refused = slow[1].recv(65_536)
        assert refused.startswith(b"HTTP/1.1 400") and b"2,000 bytes in 8 s" in refused, "it does not grow"
    finally:
        for opened in slow:
            opened.close()


def test_more_connections_than_files_keep_nobody_out(served: Served) -> None:
    few, limits = 400, resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        another = open_models(served.stores.project.parent / "few-files")
        another.promote(CHURN, churn(), churn_signature())
        with start(another.plan()) as running:
            running.wait_ready(60)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(2_000, limits[0]), limits[1]))
            with ExitStack() as opened:
                for place in range(2 * few):
                    idle = opened.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=5))
                    if place % 2:
                        with suppress(OSError):
                            idle.sendall(b"GET /v2")
                for _ in range(10):
                    client = Client(running.port)
                    assert client("POST", INFER, GOOD)[0] == 200
                    client.connection.close()
        log = (another.root / "server.log").read_text()
        assert "ERROR" not in log, log
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


LARGE = {"inputs": [AGE | {"shape": [90], "data": [31] * 90}]}


@pytest.mark.parametrize("hangs_up", ["reset", "close", "half-close and reset"])
def test_a_caller_that_hangs_up_is_no_failure(
    asks: Client, served: Served, server: ServerHandle, hangs_up: str
) -> None:
    bodies = [json.dumps(said).encode() for said in (GOOD, LARGE)]
    one, large = [posted(body, f"Content-Length: {len(body)}") for body in bodies]
    for sent in (one, one * 5, large * 3, one + b"\0\r\n\r\n"):
        for cut in (1, 60, len(sent) // 2, len(sent) - 1, len(sent)):
            opened = socket.create_connection(("127.0.0.1", server.port))
            opened.sendall(sent[:cut])
            if hangs_up == "half-close and reset":
                opened.shutdown(socket.SHUT_WR)
            if hangs_up != "close":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            opened.close()
    assert asks("POST", INFER, GOOD)[0] == 200
    metrics = asks("GET", "/metrics")[2]
    assert "tidemill_failures_total 0.0" in metrics and 'status="5xx"' not in metrics
    log = (served.root / "server.log").read_text()
    assert "ERROR" not in log and "WARNING" not in log and "Traceback" not in log, log


def test_many_and_long_headers_are_refused(asks: Client, server: ServerHandle) -> None:
    body = SMUGGLED
    for headers in ([f"X-{i}: y" for i in range(5_000)], ["X-Long: " + "y" * 2_000_000]):
        said = wire(server, posted(body, f"Content-Length: {len(body)}", *headers))
        assert b" 200 " not in said.split(b"\r\n", 1)[0]


@pytest.mark.slow
def test_an_endless_graph_ends_by_its_deadline_and_stops_with_the_server(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    served = open_models(tmp_path / "project")
    served.promote("looping", *graph_of("number", "y", endless()))
    with start(served.plan()) as running:
        running.wait_ready(60)
        client = Client(running.port)

        def ask(value: float) -> tuple[int, Any]:
            tensors = [
                {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name in ("length", "width")
            ]
            status, _, said = client("POST", "/v2/models/looping/infer", {"inputs": tensors})
            return status, said

        assert ask(1.0)[0] == 200
        for _ in range(2):
            begun = time.monotonic()
            status, said = ask(101.0)
            assert (status, said["code"]) == (500, "TM713") and time.monotonic() - begun < 7
            assert ask(2.0)[0] == 200
        with suppress(OSError):
            client.connection.sock.sendall(
                posted(LOOPING, f"Content-Length: {len(LOOPING)}", path="/v2/models/looping/infer")
            )
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < 12
        client.connection.close()
    log = (served.root / "server.log").read_text()
    assert "killing" not in log and "ERROR" not in log, log


LOOPING = json.dumps(
    {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [101.0]} for name in ("length", "width")]}
).encode()


def test_hostile_names_stay_texts(asks: Client) -> None:
    status, about, said = asks("GET", "/v2/models/hostile")
    assert status == 200 and about["content-type"] == "application/json"
    assert about["x-content-type-options"] == "nosniff"
    assert [one["name"] for one in said["inputs"]] == list(HOSTILE)
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in HOSTILE]
    status, about, said = asks("POST", "/v2/models/hostile/infer", {"inputs": tensors})
    assert status == 200 and about["content-type"] == "application/json"
    assert next(one["data"] for one in said["outputs"] if one["name"] == "label")[0] in HOSTILE[:3]
    metrics = asks("GET", "/metrics")[2]
    assert not any(name in metrics for name in HOSTILE[:4]) and "predictions_total 9" not in metrics


@pytest.mark.parametrize("name", HOSTILE)
def test_refusals_show_no_hostile_text(asks: Client, name: str) -> None:
    for path, body in [
        (INFER, {"inputs": [AGE | {"name": name}]}),
        (INFER, {"inputs": [AGE | {"datatype": name}]}),
        (INFER, {"inputs": [AGE], "outputs": [{"name": name}]}),
        (f"/invocations?model={CHURN}", {"inputs": [{name: 1}]}),
        (INFER, {"inputs": [AGE, {"name": "joined", "shape": [1], "datatype": "BYTES", "data": [name]}]}),
    ]:
        status, about, said = asks("POST", path, body)
        assert status in (400, 404), said
        assert name not in json.dumps(said, ensure_ascii=False) or name in PLAIN
        assert about["content-type"] == "application/json" and about["x-content-type-options"] == "nosniff"


def test_a_text_is_only_a_text_to_the_model(asks: Client) -> None:
    for text in (*HOSTILE, "gold' OR 1=1 --", "(" * 100_000, "\u0000"):
        plan: Any = {"name": "plan", "shape": [1], "datatype": "BYTES", "data": [text]}
        status, _, said = asks("POST", INFER, {"inputs": [AGE, plan]})
        assert status in (200, 400, 413), said
        if status == 200:
            assert text not in json.dumps(said)
    assert {field.name for field in CHURN_FIELDS} >= {"plan"}
