from __future__ import annotations

import pytest

from tidemill.core.errors import AddressRefused, HostRefused, OriginRefused
from tidemill.core.identity.account import Account
from tidemill.serving.http.access import LoopbackAccess, is_loopback, refuse_foreign_bind

PASS = [
    ("localhost:8400", None, None),
    ("127.0.0.1", None, None),
    ("127.8.9.1:1", None, None),
    ("[::1]:8400", None, "same-origin"),
    ("LOCALHOST:8400", "http://localhost:8401", "same-site"),
    ("127.0.0.1:8400", "http://127.0.0.1:8400", "none"),
]
REFUSE = [
    (None, None, None),
    ("", None, None),
    ("evil.example", None, None),
    ("localhost.evil.example", None, None),
    ("127.0.0.1.evil.example", None, None),
    ("127.0.0.1@evil.example", None, None),
    ("10.0.0.1:8400", None, None),
    ("localhost:8400", "https://evil.example", None),
    ("localhost:8400", "null", None),
    ("localhost:8400", "http://localhost:3000", None),  # another program's page on this machine
    ("localhost:8400", "http://localhost", None),
    ("localhost:8400", "file://", None),
    ("localhost:8400", None, "cross-site"),
    ("localhost:8400", None, "Cross-Site"),
    ("localhost:8400", None, " CROSS-SITE "),
    ("localhost:8400", None, "same-origin, cross-site"),
    ("localhost:8400", None, "anything"),
]


def given(host: str | None, origin: str | None, site: str | None) -> dict[str, str]:
    headers = {"host": host, "origin": origin, "sec-fetch-site": site}
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.parametrize(("host", "origin", "site"), PASS)
def test_programs_and_own_pages_pass(host: str, origin: str | None, site: str | None) -> None:
    access = LoopbackAccess([8400, 8401])
    for route in ("recommend", "none"):
        assert access(route, given(host, origin, site)) == Account(name="local", kind="user")


@pytest.mark.parametrize(("host", "origin", "site"), REFUSE)
def test_foreign_hosts_and_pages_are_refused_however_often_they_ask(
    host: str, origin: str | None, site: str | None
) -> None:
    access = LoopbackAccess([8400, 8401])
    for _ in range(2):
        with pytest.raises(OriginRefused):
            access("recommend", given(host, origin, site))


@pytest.mark.parametrize(
    "more",
    [
        {"x-forwarded-host": "evil.example"},
        {"x-forwarded-host": "localhost, evil.example"},
        {"x-forwarded-host": ""},
        {"forwarded": "for=127.0.0.1;host=evil.example"},
        {"forwarded": 'proto=http, Host = "evil.example:80"'},
        {"host": "localhost, evil.example"},
        {"host": "localhost, localhost"},
    ],
)
def test_no_other_header_may_name_another_host(more: dict[str, str]) -> None:
    access = LoopbackAccess([8400])
    with pytest.raises(HostRefused):
        access("recommend", {"host": "localhost"} | more)
    access("recommend", {"host": "localhost", "x-forwarded-host": "127.0.0.1", "forwarded": "host=localhost:8400"})


def test_long_headers_are_not_remembered() -> None:
    access = LoopbackAccess([8400])
    access("recommend", {"host": "localhost", "forwarded": "x" * 30_000})
    assert not access._known


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_listening_beyond_this_machine_is_refused(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(AddressRefused):
        refuse_foreign_bind(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_is_served(host: str) -> None:
    refuse_foreign_bind(host)
