"""Benchmarks are not run by the tests; the names that they import exist."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.py")), ids=lambda file: file.stem)
def test_a_benchmark_imports_what_exists(file: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        if node.module is None or node.module.partition(".")[0] != "tidemill":
            continue
        module = import_module(node.module)
        for name in node.names:
            assert hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}"), (node.module, name.name)
