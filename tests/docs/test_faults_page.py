"""The page on faults promises only what a test breaks on purpose: every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache

from markdown_pages import ROOT, prose

PAGE = ROOT / "docs" / "faults.md"
_NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


@cache
def named_in(file: str) -> set[str]:
    """The tests of a file under `tests/`."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return set()
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def missing(text: str) -> list[str]:
    """The tests that a text names and that are not there."""
    return [f"{file}::{name}" for file, name in _NAMED.findall(text) if name not in named_in(file)]


def test_every_test_that_the_page_names_is_there() -> None:
    assert missing(prose(PAGE)) == []


def test_every_row_names_a_test() -> None:
    rows = [line for line in prose(PAGE).splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    assert len(rows) > 20
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_a_promise_without_a_test_is_caught() -> None:
    assert missing("`lake/test_crash.py::test_that_nobody_wrote`") == ["lake/test_crash.py::test_that_nobody_wrote"]
