"""Regular expressions of the package: none ends with `$`, which also matches before a line break at the end."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidemill

FILES = sorted(Path(tidemill.__file__).parent.rglob("*.py"))
_END = re.compile(r"(?<!\\)\$(?:\)*)\Z")


def loose(tree: ast.Module) -> Iterator[int]:
    """The lines of calls with a pattern that `re` or msgspec would match loosely at its end."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        of_re = (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
        )
        patterns = [one.value for one in node.keywords if one.arg == "pattern"] + (node.args[:1] if of_re else [])
        if any("MULTILINE" in ast.unparse(one) for one in node.args[1:]):
            continue
        texts = [part.value for one in patterns for part in ast.walk(one) if isinstance(part, ast.Constant)]
        if any(isinstance(text, str) and _END.search(text) for text in texts):
            yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FILES[0].parent)))
def test_no_pattern_ends_before_a_line_break(path: Path) -> None:
    assert list(loose(ast.parse(path.read_text("utf-8")))) == []


def test_a_loose_end_is_caught() -> None:
    bad = ["re.compile(r'^a$')", "re.match('(a|b$)', x)", "Meta(pattern='a$')"]
    good = ["re.search('a$', x, re.MULTILINE)", r"re.compile(r'\\$')", "re.compile(r'a\\Z')", "text.extract('a$')"]
    assert list(loose(ast.parse("\n".join(bad + good)))) == [1, 2, 3]
