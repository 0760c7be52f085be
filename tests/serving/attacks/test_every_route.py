"""Attacks on every route of the running API and console. Routes come from their own tables; one in no list fails."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from route_table import api_routes, console_routes
from served_client import Client
from served_shop import MODEL, open_shop

from tidemill.console.web.console_process import console_start
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.serving import ServerHandle, start
from tidemill.serving.http.metrics import ROUTES

#: Routes of the API by what a request changes.
READS = {
    "v2", "v2_live", "v2_ready", "model", "model_ready", "model_config", "model_stats", "model_version",
    "model_version_ready", "model_version_config", "model_version_stats", "all_stats", "repository_index", "livez",
    "readyz", "healthz", "ping", "health", "version", "metrics", "openapi",
}  # fmt: skip
PREDICTS = {"recommend", "recommend_token", "infer", "infer_version", "invocations"}
WRITES = {"events", "outcomes"}
#: Those of the console; it changes nothing.
SHOWS = {
    "loop", "loop_json", "data", "data_json", "table", "table_json", "model", "model_json", "features", "features_json",
    "feature_view", "feature_view_json", "runs", "runs_json", "compare", "compare_json", "run", "run_json", "run_live",
    "static", "alive",
}  # fmt: skip
VALUES = {
    "model": MODEL, "model:path": MODEL, "version": "1", "token": "a" * 26, "stream": "reviews", "view": "facts",
    "table": "reviews", "number": "1", "name": "console.css",
}  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
FOREIGN = [
    (400, {"Host": "evil.example"}), (400, {"Host": "127.0.0.1.evil.example"}),
    (400, {"X-Forwarded-Host": "evil.example"}), (400, {"Forwarded": "for=1.2.3.4;host=evil.example"}),
    (403, {"Origin": "http://evil.example"}),
    (403, {"Origin": "null"}), (403, {"Sec-Fetch-Site": "Cross-Site"}),
]  # fmt: skip
TRAVERSALS = (
    "..%2f..%2fetc%2fpasswd", "%252e%252e%252f", "..;", "%2e%2e", "a%5c..%5cb", "a%00b", "%2fetc%2fpasswd",
    "%5c%5chost%5cx", "a%0d%0aX-Evil:%201", "%e2%80%ae", "x" * 4_000, "9" * 4_400, "name%0a",
)  # fmt: skip
QUERIES = (
    "?release=" + "9" * 400, "?release=²", "?run=" + quote("for_you#" + "9" * 5_000), "?model=%00&kind=%ff",
    "?n=" + "9" * 30, "?run=a&" * 300, "?%f0%28%8c%28", "?<script>", "?n=1%0a",
)  # fmt: skip
JSON = {"Content-Type": "application/json"}
DEEP = b"[" * 200_000 + b"]" * 200_000


@dataclass
class Attacked:
    handle: ServerHandle
    root: Path
    ports: dict[str, int]


@dataclass
class AnyRoute:
    """A route of either table."""

    where: str
    name: str
    path: str
    body: bool

    @property
    def url(self) -> str:
        return "/".join(VALUES[part[1:-1]] if part[:1] == "{" else part for part in self._parts)

    def urls(self, value: str) -> list[str]:
        """The path with `value` at each placeholder in turn."""
        places = [place for place, part in enumerate(self._parts) if "{" in part]
        whole = self.url.split("/")
        return ["/".join([*whole[:place], value, *whole[place + 1 :]]) for place in places]

    @property
    def _parts(self) -> list[str]:
        return self.path.removesuffix(".json").split("/")


EVERY = [
    *[AnyRoute("api", route.name, route.path, route.takes_body) for route in api_routes()],
    *[AnyRoute("console", route.name, route.path, False) for route in console_routes()],
]
POSTED = [route for route in EVERY if route.body]
everywhere = pytest.mark.parametrize("route", EVERY, ids=lambda route: f"{route.where}-{route.name}")
posted = pytest.mark.parametrize("route", POSTED, ids=lambda route: str(route.name))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    shop = open_shop(tmp_path_factory.mktemp("attacked") / "project", port=0, workers=1, drain_s=0.05)
    shop.promote(shop.release())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        console_port = free.getsockname()[1]
    given = shop.overrides | {"serve.console_port": console_port}
    console = console_start(shop.stores.settings, given, [MODEL])
    with start(serve_plan(shop.stores.settings, overrides=given, console=console)) as running:
        running.wait_ready(60)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", console_port)) == 0:
                    break
            time.sleep(0.1)
        yield Attacked(running, shop.root, {"api": running.port, "console": console_port})
    log = (shop.root / "server.log").read_text()
    assert "Traceback" not in log and " ERROR " not in log, log[-3_000:]


def sent(
    attacked: Attacked, route: AnyRoute, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> bytes:
    """The whole answer to one request, as bytes."""
    given = {"Host": "127.0.0.1"} | headers | {"Connection": "close"}
    if body:
        given["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    with socket.create_connection(("127.0.0.1", attacked.ports[route.where]), timeout=20) as wire:
        wire.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        said = b""
        try:
            wire.sendall(body)
            while block := wire.recv(65_536):
                said += block
        except (BrokenPipeError, ConnectionResetError):
            pass
    return said


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def test_every_route_is_in_a_list() -> None:
    assert {route.name for route in api_routes()} == READS | PREDICTS | WRITES
    assert set(ROUTES) == READS | PREDICTS | WRITES | {"none"}
    assert {route.name for route in console_routes()} == SHOWS
    assert all(not route.methods or route.methods <= {"GET", "HEAD"} for route in console_routes())
    posted = (PREDICTS | WRITES | {"repository_index"}) - {"recommend_token"}
    assert {route.name for route in api_routes() if route.method == "POST"} == posted


@pytest.mark.slow
@everywhere
def test_foreign_hosts_and_pages_are_refused_with_every_method(attacked: Attacked, route: AnyRoute) -> None:
    for method in METHODS:
        for wanted, headers in FOREIGN:
            said = sent(attacked, route, method, route.url, headers)
            assert status(said) == wanted, (method, headers, said)
            assert MODEL.encode() not in said and b"access-control" not in said.lower()
        for target, hosts in (("http://evil.example", "127.0.0.1"), ("", "127.0.0.1\r\nHost: evil.example")):
            said = sent(attacked, route, method, target + route.url, {"Host": hosts})
            assert status(said) == 400 and MODEL.encode() not in said, (method, target, said)


@pytest.mark.slow
@everywhere
def test_a_path_leads_nowhere_else(attacked: Attacked, route: AnyRoute) -> None:
    for value in TRAVERSALS:
        for url in route.urls(value):
            said = sent(attacked, route, "POST" if route.body else "GET", url, JSON, b"{}")
            assert status(said) in (400, 404), (url, said)
            assert b"X-Evil" not in said.split(b"\r\n\r\n", 1)[0] and b"root:" not in said and b"import " not in said


@pytest.mark.slow
@everywhere
def test_other_methods_change_nothing(attacked: Attacked, route: AnyRoute) -> None:
    own = {"POST"} if route.body else {"GET", "HEAD"} if route.where == "console" else {"GET"}
    for method in set(METHODS) - own:
        said = sent(attacked, route, method, route.url, JSON, b"{}")
        assert status(said) in (405, 404, 415), (method, said)


@pytest.mark.slow
@posted
def test_what_a_form_of_another_page_can_send_is_not_read(attacked: Attacked, route: AnyRoute) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml", ""):
        said = sent(attacked, route, "POST", route.url, {"Content-Type": kind, "Origin": "null"}, b"{}")
        assert status(said) == 403, said
        said = sent(attacked, route, "POST", route.url, {"Content-Type": kind}, b"{}")
        assert status(said) == 415, said


@pytest.mark.slow
@posted
def test_large_and_deep_bodies_are_refused(attacked: Attacked, route: AnyRoute) -> None:
    flat = json.dumps({"inputs": [], "outputs": []}).encode()
    deep = [DEEP, b'{"context":' + DEEP + b"}", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"[" + DEEP + b"]"]
    for body in (*deep, b'"' + b"x" * 900_000 + b'"', b"9" * 900_000, b"[" + b"1e999," * 10 + b"NaN]", flat[:-1]):
        begun = time.monotonic()
        said = sent(attacked, route, "POST", route.url, JSON, body)
        assert status(said) in (400, 404, 413) and len(said) < 2_000, said[:300]
        assert time.monotonic() - begun < 5
    for size in (2 << 20, 60 << 20):
        said = sent(attacked, route, "POST", route.url, JSON, b" " * size)
        assert not said or status(said) == 413, said[:300]


@pytest.mark.slow
@everywhere
def test_queries_and_headers_break_no_page(attacked: Attacked, route: AnyRoute) -> None:
    method, body = ("POST", b"{}") if route.body else ("GET", b"")
    for query in QUERIES:
        path = quote(route.url + query, safe="/?&=%<>{}:")
        said = sent(attacked, route, method, path, JSON | {"If-None-Match": '"' * 500}, body)
        assert status(said) < 500 and b"<script>" not in said.split(b"\r\n\r\n", 1)[1][:4_000], (path, said[:400])


@pytest.mark.slow
def test_of_two_equal_keys_the_last_one_is_meant_everywhere(attacked: Attacked) -> None:
    client = Client(attacked.ports["api"])
    twice = b'{"user":"first@example.org","n":2,"user":"last@example.org"}'
    bodies = (twice, {"user": "last@example.org", "n": 2})
    found, once = (client("POST", f"/v1/recommend/{MODEL}", body) for body in bodies)
    assert found[0] == once[0] == 200
    assert (found[2]["token"], found[2]["prediction_id"]) == (once[2]["token"], once[2]["prediction_id"])
    client.connection.close()
