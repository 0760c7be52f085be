"""The page on serving lists every route of the server, and each error code with its status."""

from __future__ import annotations

import ast
import re

from markdown_pages import ROOT

from tidemill.core.errors import AccessError, ServeError, TidemillError
from tidemill.serving.http.error_responses import STATUS

PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
_SITE = ROOT / "src" / "tidemill" / "serving" / "process" / "worker_site.py"


def routes() -> set[str]:
    """`METHOD path` of every route that the server makes."""
    found = set()
    for node in ast.walk(ast.parse(_SITE.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Route":
            _, method, path = (part.value for part in node.args[:3] if isinstance(part, ast.Constant))
            found.add(f"{method} {path}")
    return found


def test_every_route_is_documented_and_no_other() -> None:
    listed = set(re.findall(r"^\| `((?:GET|POST) /[^`?]*)", PAGE, re.MULTILINE))
    assert len(routes()) >= 8
    assert listed == routes()


def _status(error: type[TidemillError]) -> str:
    return str(next(code for kind, code in STATUS if issubclass(error, kind)))


def test_every_code_has_the_status_that_the_server_gives_it() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (TM[^|]*) \|", PAGE, re.MULTILINE)
    listed = {code.strip(): status for status, codes in rows for code in codes.split(",")}
    known: dict[str, str] = {}
    todo: list[type[TidemillError]] = [ServeError, AccessError]
    while todo:
        error = todo.pop()
        known[error.code] = _status(error)
        todo += error.__subclasses__()
    assert listed
    assert {code: status for code, status in listed.items() if known.get(code) != status} == {}
    never_answered = {"TM710", "TM900", "TM901"}  # they end a server before it listens, or have leaves that are listed
    assert set(known) - set(listed) - never_answered == set()
