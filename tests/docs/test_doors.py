"""A room's door says what it offers: `__all__` is sorted, is what can be seen, and every name in it resolves."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest
from markdown_pages import ROOT

PACKAGE = ROOT / "src" / "tidemill"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
DOORS = ["tidemill", *(f"tidemill.{room}" for room in ROOMS)]
#: What a door imports for itself, and lazily resolved data that is no name of its own.
_OWN = {"TYPE_CHECKING", "Any", "annotations", "import_module", "importlib", "lazy_exports"}


def visible(source: str) -> set[str]:
    """The public names that a door's source makes or imports, for the type checker too."""
    found: set[str] = set()
    tree = ast.parse(source)
    for_types = [node for node in tree.body if isinstance(node, ast.If)]
    for node in [*tree.body, *(inner for block in for_types for inner in block.body)]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")} - _OWN


def _place(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _source(door: str) -> str:
    return Path(PACKAGE.parent, *door.split("."), "__init__.py").read_text("utf-8")


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lists_exactly_what_is_visible(door: str) -> None:
    listed = getattr(import_module(door), "__all__", [])
    assert set(listed) == visible(_source(door))
    assert list(listed) == sorted(listed, key=_place)


def test_a_name_that_is_visible_and_not_listed_is_caught() -> None:
    assert visible("from a import b\n__all__ = []\n") == {"b"}
    assert visible("if TYPE_CHECKING:\n    from a import c as c\n") == {"c"}
    assert visible("import os\nX = 1\n\ndef _hidden(): ...\n") == {"os", "X"}


@pytest.mark.parametrize("door", DOORS)
def test_every_listed_name_resolves(door: str) -> None:
    module = import_module(door)
    assert [name for name in getattr(module, "__all__", []) if getattr(module, name, None) is None] == []
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018 - the access is the test


@pytest.mark.parametrize("door", DOORS)
def test_type_checkers_and_python_find_a_name_in_the_same_module(door: str) -> None:
    for_types = [node for node in ast.parse(_source(door)).body if isinstance(node, ast.If)]
    imports = [node for block in for_types for node in block.body if isinstance(node, ast.ImportFrom)]
    for name, module in [(alias.name, node.module or "") for node in imports for alias in node.names]:
        assert import_module(door).__getattr__(name) is getattr(import_module(module), name), name


@pytest.mark.parametrize("door", DOORS)
def test_a_door_says_what_the_room_is_for(door: str) -> None:
    says = ast.get_docstring(ast.parse(_source(door))) or ""
    assert len(says.split()) > 15, f"{door} hardly says anything"


def test_every_folder_of_the_package_has_a_door() -> None:
    folders = {
        path.name
        for path in PACKAGE.iterdir()
        if path.is_dir() and path.name != "__pycache__" and any(path.glob("*.py"))
    }
    assert folders == set(ROOMS)
