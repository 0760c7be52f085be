"""Every module, public class and public function says what it is, and the examples in docstrings are true."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from markdown_pages import ROOT

SOURCE = ROOT / "src"
FILES = sorted(path for path in (SOURCE / "tidemill").rglob("*.py") if "templates" not in path.parts)
WITH_EXAMPLES = [path for path in FILES if ">>> " in path.read_text("utf-8")]


def silent(tree: ast.Module) -> Iterator[str]:
    """Public classes and functions at the top of a module, and the module itself, that have no docstring."""
    if not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            yield node.name


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def test_everything_public_says_what_it_is() -> None:
    found = [f"{_name(path)}: {name}" for path in FILES for name in silent(ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_a_missing_docstring_is_caught() -> None:
    tree = ast.parse('"""A module."""\n\ndef f(): ...\n\ndef _g(): ...\n\nclass C:\n    """A class."""\n')
    assert list(silent(tree)) == ["f"]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=_name)
def test_examples_in_docstrings_are_true(path: Path) -> None:
    module = import_module(_name(path))
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
    assert tried or "+SKIP" in path.read_text("utf-8")
