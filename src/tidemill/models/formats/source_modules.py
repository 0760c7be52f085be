"""Source modules: functions of a project that are shipped with a release (custom rules, on-demand features).

The server never imports the project file. Instead a function's source is extracted together with everything it uses
from the top level of its file (functions, constants, imports); only imports in `ALLOWED_IMPORTS` are accepted. A
pre-trained model is not source code: its name is returned with the module, and bound when the module is loaded.

The checks are against accidents, such as reading a file that the server lacks. They are no boundary between people:
whoever writes a function runs code on the server.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from tidemill.core.errors import RuleRefused
from tidemill.models.formats.pretrained import PretrainedGraph

ALLOWED_IMPORTS = frozenset(
    {"__future__", "bisect", "collections", "datetime", "fractions", "functools", "itertools", "math", "numpy",
     "operator", "re", "statistics", "string", "typing", "unicodedata", "zoneinfo"}
)  # fmt: skip
#: Built-in functions that run other code, wait for a person, or reach what is not shipped.
REFUSED_BUILTINS = frozenset(
    {"__import__", "breakpoint", "compile", "copyright", "credits", "delattr", "dir", "eval", "exec", "exit", "globals",
     "help", "input", "license", "locals", "memoryview", "open", "quit", "setattr", "vars"}
)  # fmt: skip
#: Functions of allowed modules that do.
_REFUSED_ATTRIBUTES = frozenset(
    {"fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap", "open_memmap", "save", "savetxt", "savez",
     "savez_compressed", "tofile", "ctypeslib", "f2py", "attrgetter", "methodcaller"}
)  # fmt: skip
_BUILTINS = frozenset(dir(builtins)) - REFUSED_BUILTINS


class SourceModule(NamedTuple):
    """The source module of a function."""

    #: Relative to the folder that it was shipped to.
    path: str
    source: str
    #: Name in the source -> the pre-trained model to bind to it.
    pretrained: dict[str, PretrainedGraph]


def shipped_function(function: Callable[..., Any], folder: str, what: str) -> SourceModule:
    """A function as a module below `folder`; `what` describes it in messages.

    Raises `RuleRefused` if a function cannot be shipped, with the reason.
    """
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise RuleRefused(
            f"{function!r} is not a named function", tip="write `def my_function(…): return …` at the top of mill.py"
        )
    name = function.__name__
    if function.__closure__ or "<locals>" in function.__qualname__ or "." in function.__qualname__:
        raise RuleRefused(
            f"the {what} `{name}` is defined inside another function or class", tip="move it to the top of the file"
        )
    try:
        file = _BareModule().visit(ast.parse(inspect.getsource(inspect.getmodule(function) or function)))
    except (OSError, TypeError, SyntaxError) as missing:
        raise RuleRefused(
            f"the source of the {what} `{name}` cannot be read", tip="define it in a file, not at a prompt"
        ) from missing
    known = {name: value for name, value in function.__globals__.items() if isinstance(value, PretrainedGraph)}
    source, reached = _cut(file, name, what, known)
    check_source(f"{folder}/{name}.py", source, reached)
    return SourceModule(f"{folder}/{name}.py", source, {name: known[name] for name in sorted(reached)})


def load_shipped(
    path: str,
    name: str,
    folder: str,
    sources: Mapping[str, bytes],
    hashes: Mapping[str, str] | None = None,
    pretrained: Mapping[str, PretrainedGraph] | None = None,
) -> Callable[..., Any]:
    """The function `name` of the shipped module at `path`, which must be inside `folder`.

    `hashes` (path -> sha256, as pinned by a release) are compared first; a difference, a missing module or a source
    that may not be shipped raises `RuleRefused`. `pretrained` are bound to their names before it runs.
    """
    bound = dict(pretrained or {})
    source = sources.get(path)
    if source is None or PurePosixPath(path).parts[0] != folder or ".." in path:
        raise RuleRefused(f"the release has no module {path} for its function `{name}`")
    if hashes is not None and hashes.get(path) != hashlib.sha256(source).hexdigest():
        raise RuleRefused(f"{path} does not match the hash that the release pins")
    check_source(path, source.decode(), bound)
    module = types.ModuleType(f"tidemill_{folder}_{name}")
    module.__dict__.update(bound)
    exec(compile(source, path, "exec"), module.__dict__)  # the project's own code, pinned by hash in the release
    found: Callable[..., Any] = getattr(module, name)
    return found


class _BareModule(ast.NodeTransformer):
    """Removes annotations: they are only for the type checker, and use names that are not shipped."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value, type_comment=None), node)


def _cut(file: ast.Module, name: str, what: str, known: Collection[str]) -> tuple[str, set[str]]:
    """The top-level statements of a file that `name` uses, in order, and the `known` names that it uses."""
    makers: dict[str, ast.stmt] = {}
    for statement in file.body:
        for made in _makes(statement):
            makers[made] = statement
    if not isinstance(makers.get(name), ast.FunctionDef):
        raise RuleRefused(f"the {what} `{name}` is not a plain `def {name}(…)` at the top of its file")
    wanted: set[int] = set()
    met: set[str] = set()
    todo = [name]
    while todo:
        needed = todo.pop()
        if needed in known:
            met.add(needed)
            continue
        reached = makers.get(needed)
        if reached is None or id(reached) in wanted:
            continue
        wanted.add(id(reached))
        if isinstance(reached, ast.FunctionDef):
            reached.decorator_list = []  # decorators use names that are not shipped, such as the mill
        todo.extend(node.id for node in ast.walk(reached) if isinstance(node, ast.Name))
    kept = [ast.unparse(statement) for statement in file.body if id(statement) in wanted]
    return "from __future__ import annotations\n\n" + "\n\n\n".join(kept) + "\n", met


def _makes(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def check_source(path: str, source: str, given: Collection[str] = ()) -> None:
    """Refuse a module that imports beyond `ALLOWED_IMPORTS`, uses a name that is neither defined nor `given`, or could
    reach other code; `RuleRefused` names the line and the reason.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise RuleRefused(f"{path} is not valid Python source") from problem
    modules = _modules(path, tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["."]
        foreign = [name for name in names if name.split(".")[0] not in ALLOWED_IMPORTS]
        if foreign:
            raise RuleRefused(
                f"{path} imports {', '.join(foreign)}",
                tip=f"it may import: {', '.join(sorted(ALLOWED_IMPORTS - {'__future__'}))}",
            )
        if reason := _reach(node, modules, called):
            raise RuleRefused(
                f"{path}, line {getattr(node, 'lineno', '?')}: {reason}",
                tip="write it with the values that the function is given; see `tidemill help TM610`",
            )
    defined = {name for node in ast.walk(tree) for name in _binds(node)} | _BUILTINS | set(given)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = sorted(used - defined)
    if unknown:
        raise RuleRefused(f"{path} uses {', '.join(unknown)}, which is not defined at the top level of its file")


def _modules(path: str, tree: ast.Module) -> dict[str, types.ModuleType]:
    """The names that are bound to allowed modules."""
    found: dict[str, types.ModuleType] = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import) else ():
            if alias.name.split(".")[0] in ALLOWED_IMPORTS:
                whole = _imported(path, alias.name)
                name = alias.name.split(".")[0]
                found[alias.asname or name] = whole if alias.asname else _imported(path, name)
    return found


def _imported(path: str, name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise RuleRefused(f"{path} imports {name}, which does not exist here") from problem


def _reach(node: ast.AST, modules: Mapping[str, types.ModuleType], called: Collection[int]) -> str | None:
    """How a node reaches code or files that are not shipped, if it does; `called` are the nodes that are called."""
    if isinstance(node, ast.Name) and (node.id in REFUSED_BUILTINS or _is_internal(node.id)):
        return f"`{node.id}` is not allowed in a shipped function"
    if isinstance(node, ast.Attribute) and (_is_internal(node.attr) or node.attr in _REFUSED_ATTRIBUTES):
        return f"the attribute `{node.attr}` is not allowed in a shipped function"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        name = node.args[1] if len(node.args) > 1 else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)) or _is_internal(name.value):
            return "`getattr` needs the attribute's name as a text, and not an internal one"
    if isinstance(node, ast.Name) and node.id == "getattr" and id(node) not in called:
        return "`getattr` is only allowed as a call"
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\{[^{}]*\.__", node.value):
        return "a format with an internal attribute is not allowed"
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ALLOWED_IMPORTS:
        module = _imported("it", node.module)
        for alias in node.names:
            if alias.name == "*" or alias.name in _REFUSED_ATTRIBUTES or _is_foreign(module, alias.name):
                return f"`{alias.name}` of `{node.module}` is not allowed in a shipped function"
    outer = _module_of(node.value, modules) if isinstance(node, ast.Attribute) else None
    if isinstance(node, ast.Attribute) and outer is not None and _is_foreign(outer, node.attr):
        return f"`{outer.__name__}.{node.attr}` is another module"
    return None


def _module_of(node: ast.AST, modules: Mapping[str, types.ModuleType]) -> types.ModuleType | None:
    """The module that a dotted name is, such as `numpy.linalg`."""
    if isinstance(node, ast.Name):
        return modules.get(node.id)
    if isinstance(node, ast.Attribute) and (outer := _module_of(node.value, modules)) is not None:
        inner = outer.__dict__.get(node.attr)
        return inner if isinstance(inner, types.ModuleType) else None
    return None


def _is_foreign(module: types.ModuleType, name: str) -> bool:
    """Whether an attribute is a module outside the allowed module's own package: `typing.sys`."""
    if _is_internal(name):
        return module.__name__ != "__future__"
    found = module.__dict__.get(name)
    own = module.__name__.split(".")[0] + "."
    return isinstance(found, types.ModuleType) and not found.__name__.startswith(own)


def _is_internal(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _binds(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    return _makes(node) if isinstance(node, ast.stmt) else []
