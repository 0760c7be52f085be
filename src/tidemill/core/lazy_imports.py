"""Lazy imports of a package's public names (PEP 562): a name's module is loaded when the name is first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Exports = tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]


def lazy_exports(package: str, homes: Mapping[str, str]) -> Exports:
    """`__all__`, `__getattr__` and `__dir__` of a package; `homes` maps submodules to space-separated public names.

    For type checkers, the package repeats the names under `if TYPE_CHECKING:` as `from module import X as X`. They do
    not see this `__getattr__`, so they report names that the package does not export.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}
    public = sorted(home, key=lambda name: (not name.isupper(), not name[0].isupper(), name))  # as ruff sorts `__all__`

    def resolve(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return public, resolve, lambda: public
