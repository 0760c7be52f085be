"""The pages on faults and security promise only what a test tries: every test that they name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from markdown_pages import ROOT, prose

PAGES = [ROOT / "docs" / "faults.md", ROOT / "docs" / "security.md"]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_the_page_names_is_there(page: Path) -> None:
    assert missing(prose(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_row_names_a_test(page: Path) -> None:
    rows = [line for line in prose(page).splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    assert rows
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_a_promise_without_a_test_is_caught() -> None:
    assert missing("`lake/test_crash.py::test_that_nobody_wrote`") == ["lake/test_crash.py::test_that_nobody_wrote"]
