"""A changed helper invalidates, a changed comment does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.loop.project.code_fingerprint import code_fingerprint

MILL = '''
import narwhals as nw
import rules
FACTOR = 2
def table(x):
    """What it is."""
    return rules.double(x) * FACTOR  # a comment
def other(x):
    return x
'''
RULES = """
def double(x):
    return 2 * x
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in ("mill", "rules"):
        sys.modules.pop(name, None)


def mark(project: Path, mill: str = MILL, rules: str = RULES) -> str:
    (project / "mill.py").write_text(mill)
    (project / "rules.py").write_text(rules)
    for name in ("mill", "rules"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode = True
    import linecache

    linecache.clearcache()
    return code_fingerprint(importlib.import_module("mill").table, project)


def test_the_same_code_gives_the_same_fingerprint(project: Path) -> None:
    assert mark(project) == mark(project)


@pytest.mark.parametrize(
    "change",
    [
        ("# a comment", "# another comment"),
        ('"""What it is."""', '"""What else it is."""'),
        ("def other(x):\n    return x", "def other(x):\n    return 7"),
        ("\nFACTOR", "\n\n\nFACTOR"),
    ],
)
def test_what_decides_nothing_changes_nothing(project: Path, change: tuple[str, str]) -> None:
    assert mark(project, MILL.replace(*change)) == mark(project)


@pytest.mark.parametrize("change", [("* FACTOR", "+ FACTOR"), ("FACTOR = 2", "FACTOR = 3")])
def test_code_and_closed_over_values_count(project: Path, change: tuple[str, str]) -> None:
    assert mark(project, MILL.replace(*change)) != mark(project)


def test_a_helper_in_another_module_counts(project: Path) -> None:
    assert mark(project, rules=RULES.replace("2 *", "3 *")) != mark(project)
    assert mark(project, rules=RULES + "# said\n") == mark(project)
