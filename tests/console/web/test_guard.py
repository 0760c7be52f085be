from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tidemill.console.web.console_app import create_app
from tidemill.core.errors import OriginRefused
from tidemill.core.identity.account import Account

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PATHS = [
    "/",
    "/index.json",
    "/models/for_you",
    "/models/for_you.json",
    "/static/console.css",
    "/livez",
    "/nothing",
    "/models/nobody",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
def test_every_response_carries_the_policy(lively: Any, get: Callable[..., Any], path: str, method: str) -> None:
    reply = get(lively.stores(), path, method=method)
    assert reply.headers["content-security-policy"] == POLICY
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "cache-control" in reply.headers
    if method not in ("GET", "HEAD"):
        assert reply.status in (404, 405)
    if method == "HEAD":
        assert reply.body == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("host", "evil.example")], 400),
        ([("host", "127.0.0.1.evil.example:8401")], 400),
        ([("host", "")], 400),
        ([("host", "127.0.0.1:8401"), ("host", "evil.example")], 400),
        ([("host", "127.0.0.1:8401"), ("x-forwarded-host", "evil.example")], 400),
        ([("host", "127.0.0.1:8401"), ("forwarded", "host=evil.example")], 400),
        ([("host", "192.168.1.4:8401")], 400),
        ([("host", "127.0.0.1:8401"), ("origin", "http://evil.example")], 403),
        ([("host", "127.0.0.1:8401"), ("origin", "null")], 403),
        ([("host", "127.0.0.1:8401"), ("origin", "http://127.0.0.1:9999")], 403),
        ([("host", "127.0.0.1:8401"), ("origin", "http://127.0.0.1:8401"), ("origin", "http://evil.example")], 403),
        ([("host", "127.0.0.1:8401"), ("sec-fetch-site", "Cross-Site")], 403),
        ([("host", "127.0.0.1:8401"), ("origin", "http://127.0.0.1:8401")], 200),
        ([("host", "localhost:8401")], 200),
        ([("host", "[::1]:8401")], 200),
        ([("host", "127.0.0.1:8401"), ("sec-fetch-site", "none")], 200),
    ],
)
@pytest.mark.parametrize("path", ["/", "/index.json", "/static/console.js"])
def test_foreign_hosts_and_pages_are_refused_on_every_route(
    lively: Any, get: Callable[..., Any], path: str, headers: list[tuple[str, str]], status: int
) -> None:
    reply = get(lively.stores(), path, headers=headers)
    assert reply.status == status
    assert reply.headers["content-security-policy"] == POLICY
    if status != 200:
        assert "evil" not in reply.text
        assert "magazines" not in reply.text


@pytest.mark.parametrize(
    ("path", "method", "route"),
    [
        ("/", "GET", "loop"),
        ("/", "POST", "loop"),
        ("/models/for_you", "GET", "model"),
        ("/models/for_you.json", "HEAD", "model_json"),
        ("/runs/for_you/1/live", "GET", "run_live"),
        ("/static/console.css", "GET", "static"),
        ("/nothing", "GET", "none"),
    ],
)
def test_access_decides_for_a_route_by_its_name(lively: Any, asks: Any, path: str, method: str, route: str) -> None:
    asked = []

    def access(name: str, headers: Mapping[str, str]) -> Account:
        asked.append(name)
        raise OriginRefused("nobody may")

    app = create_app(lively.stores(), access=access)
    assert asks(app, path, method=method).status == 403
    assert asked == [route]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_foreign_page_is_refused_on_other_methods_too(lively: Any, get: Callable[..., Any], method: str) -> None:
    reply = get(
        lively.stores(), "/", method=method, headers=[("host", "127.0.0.1:8401"), ("origin", "http://evil.example")]
    )
    assert reply.status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/console.css/..",
        "/static/\\app.py",
        "/static/layout.html",
        "/models/..%2f..%2fetc",
        "/models/a%00b",
        "/models/" + "x" * 9000,
        "/templates/loop.html",
    ],
)
def test_no_path_leads_anywhere_else(lively: Any, get: Callable[..., Any], path: str) -> None:
    reply = get(lively.stores(), path)
    assert reply.status == 404
    assert "import" not in reply.text


@pytest.mark.parametrize("asked", ["x", "-1", "1e3", "9" * 40, "²", "%31%00", "1;2"])
def test_a_release_number_that_is_none_is_refused(lively: Any, get: Callable[..., Any], asked: str) -> None:
    assert get(lively.stores(), f"/models/for_you?release={asked}").status == 400
    assert get(lively.stores(), f"/models/for_you.json?release={asked}").status == 400


def test_a_fault_tells_the_page_nothing_of_itself(
    lively: Any, get: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[str]:
        raise RuntimeError("-".join(["secret", "of", "the", "machine"]))  # not as it stands in the traceback's source

    for path in ("/", "/index.json"):
        reply = get(lively.stores(problems=broken), path)
        assert reply.status == 500
        assert "secret-of-the-machine" not in reply.text
        assert reply.headers["content-security-policy"] == POLICY
    assert "secret-of-the-machine" not in caplog.text
    assert "RuntimeError" in caplog.text
