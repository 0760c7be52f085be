"""Access check of every request. There is no access control yet, so the server accepts only this machine.

Any web page in a browser on this machine can reach the server too. So every header that names the host must name this
machine (against DNS rebinding), and if the browser reports which page sent the request, that page must be one of the
server. The API and the console share this check.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

from tidemill.core.errors import AddressRefused, HostRefused, OriginRefused
from tidemill.core.identity.account import Account

#: Called with the name of a request's route (`none` if there is none) and its headers, by name in lower case, those of
#: repeated ones joined with commas. Returns the account that acts; raises `AccessError` to refuse the request.
Access = Callable[[str, Mapping[str, str]], Account]
#: Values of `Sec-Fetch-Site` of pages of this machine, of an address that was typed, and of programs.
_SITES = frozenset({"same-origin", "same-site", "none", None})
_FORWARDED_HOST = re.compile(r"\bhost\s*=\s*\"?([^\";,\s]*)", re.IGNORECASE)

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?\Z")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback, which no other machine can reach.

    >>> is_loopback("127.0.0.1"), is_loopback("[::1]"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    name = host.strip("[]")
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_foreign_bind(host: str) -> None:
    """Raises `AddressRefused` for an address that other machines can reach."""
    if not is_loopback(host):
        raise AddressRefused(
            f"the server cannot listen on {host!r}: other machines can reach that address",
            tip="there is no access control yet: listen on 127.0.0.1, behind a proxy with authentication",
        )


#: The account of every request, because nobody signs in.
LOCAL = Account(name="local")


class LoopbackAccess:
    """Open to programs on this machine and to its pages on `ports`; other hosts and origins are refused on every route.

    >>> LoopbackAccess([8400])("recommend", {"host": "localhost:8400"}).name
    'local'
    """

    def __init__(self, ports: list[int]) -> None:
        self._ports = frozenset(ports)
        self._known: set[tuple[str | None, ...]] = set()

    def __call__(self, route: str, headers: Mapping[str, str]) -> Account:
        get = headers.get
        deciding = (get("host"), get("x-forwarded-host"), get("forwarded"), get("origin"), get("sec-fetch-site"))
        if deciding not in self._known:
            self._check(*deciding)
            if len(self._known) < 256 and sum(map(len, filter(None, deciding))) < 512:  # callers choose the values
                self._known.add(deciding)
        return LOCAL

    def _check(
        self, host: str | None, forwarded_host: str | None, forwarded: str | None, origin: str | None, site: str | None
    ) -> None:
        names = [host or "", *(forwarded_host.split(",") if forwarded_host is not None else ())]
        names += _FORWARDED_HOST.findall(forwarded or "")
        if not all(_is_this_machine(name.strip()) for name in names):
            raise HostRefused("the request names another machine as its host", tip="use 127.0.0.1 or localhost")
        if origin is not None and not self._is_ours(origin):
            raise OriginRefused("the request comes from a page of another site")
        if (site.strip().lower() if site is not None else None) not in _SITES:
            raise OriginRefused("a page of another site made the browser send this request")

    def _is_ours(self, origin: str) -> bool:
        scheme, _, rest = origin.partition("://")
        match = _HOST.match(rest)
        if scheme not in ("http", "https") or not match or not is_loopback(match["name"]):
            return False
        return int(match["port"] or {"http": 80, "https": 443}[scheme]) in self._ports


def _is_this_machine(host: str) -> bool:
    match = _HOST.match(host)
    return match is not None and is_loopback(match["name"])
