"""Code fingerprint of a step: a hash of its function, every project module that it reaches, its closure values, and
the versions of imported libraries. A changed helper changes it; a changed comment or docstring does not.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from tidemill.loop.project.sql_query import SqlQuery

#: The address in the `repr` of an object, which differs between runs.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PACKAGES: dict[str, list[str]] = {}


def code_fingerprint(function: Callable[..., Any] | SqlQuery, project: Path) -> str:
    """sha256 in hex of everything that determines the output of `function` for given inputs."""
    walk = _Walk(project)
    if isinstance(function, SqlQuery):
        walk.parts["query"] = function.text
    else:
        walk.function(function)
    return walk.digest()


class _Walk:
    """One traversal of everything that a function reaches; each object once."""

    def __init__(self, project: Path) -> None:
        self.project = project.resolve()
        self.parts: dict[str, str] = {}

    def digest(self) -> str:
        text = "\n".join(f"{name}={self.parts[name]}" for name in sorted(self.parts))
        return hashlib.sha256(text.encode()).hexdigest()

    def function(self, function: Callable[..., Any]) -> _Walk:
        function = inspect.unwrap(function)
        if not isinstance(function, FunctionType):
            self.parts[f"callable {function!r}"] = repr(function)
            return self
        name = f"function {self.place(function)}:{function.__qualname__}"
        if name in self.parts:
            return self
        self.parts[name] = _normal(textwrap.dedent(inspect.getsource(function)))
        reached = inspect.getclosurevars(function)
        for key, value in {**reached.globals, **reached.nonlocals}.items():
            self.value(f"{name}:{key}", value)
        if function.__defaults__:
            self.parts[f"{name}:defaults"] = repr(function.__defaults__)
        return self

    def value(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType):
            self.module(value)
        elif isinstance(value, FunctionType) or inspect.isclass(value):
            if self.ours(value):
                self.module(sys.modules[value.__module__]) if not self.main(value) else self.object(name, value)
            else:
                self.library(value.__module__)
        elif getattr(builtins, getattr(value, "__name__", ""), None) is value:
            return
        else:
            self.parts[f"value {name}"] = _ADDRESS.sub("", repr(value))

    def object(self, name: str, value: Any) -> None:
        if isinstance(value, FunctionType):
            self.function(value)
        else:
            self.parts[f"class {name}"] = _normal(textwrap.dedent(inspect.getsource(value)))

    def place(self, function: FunctionType) -> str:
        """The function's file within the project; not the name under which the file is imported."""
        file = Path(function.__code__.co_filename).resolve()
        return str(file.relative_to(self.project)) if file.is_relative_to(self.project) else function.__module__

    def main(self, value: Any) -> bool:
        """Whether it is in mill.py, whose functions are followed one by one, without the rest of the file."""
        return Path(inspect.getsourcefile(value) or "").name == "mill.py"

    def ours(self, value: Any) -> bool:
        file = getattr(sys.modules.get(value.__module__), "__file__", None)
        return file is not None and Path(file).resolve().is_relative_to(self.project) and "site-packages" not in file

    def module(self, module: ModuleType) -> None:
        file = getattr(module, "__file__", None)
        inside = file and Path(file).resolve().is_relative_to(self.project) and "site-packages" not in file
        if not inside or not file:
            self.library(module.__name__)
            return
        name = f"module {module.__name__}"
        if name in self.parts:
            return
        self.parts[name] = _normal(Path(file).read_text(encoding="utf-8"))
        for value in vars(module).values():
            if isinstance(value, ModuleType):
                self.module(value)
            elif isinstance(value, FunctionType) and value.__module__ != module.__name__:
                self.value(name, value)

    def library(self, module: str) -> None:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return
        if top not in _PACKAGES:
            _PACKAGES[top] = distributions_of(top)
        for distribution in _PACKAGES[top]:
            self.parts[f"library {distribution}"] = metadata.version(distribution)


def distributions_of(top: str) -> list[str]:
    """The distributions that install a top-level package, like `metadata.packages_distributions`.

    That function parses the metadata of every installed distribution, which takes a third of a process's startup time.
    """
    in_record = re.compile(rf"^{re.escape(top)}(/[^,\n]*)?\.py,", re.MULTILINE)
    return [distribution.name for distribution in metadata.distributions() if _brings(distribution, top, in_record)]


def _brings(distribution: metadata.Distribution, top: str, in_record: re.Pattern[str]) -> bool:
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return top in declared
    return in_record.search(distribution.read_text("RECORD") or "") is not None


def _normal(source: str) -> str:
    """The syntax tree without comments, docstrings, decorators and positions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            if not isinstance(node, ast.Module):
                node.decorator_list = []
    return ast.dump(tree, annotate_fields=False)
