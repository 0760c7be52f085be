"""Source modules: functions of a project that are shipped with a release (custom rules, on-demand features).

The server never imports the project file. Instead a function's source is extracted together with everything it uses
from the top level of its file (functions, constants, imports); only imports in `ALLOWED_IMPORTS` are accepted. A
pre-trained model is not source code: its name is returned with the module, and bound when the module is loaded.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
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
    """Refuse a module that imports beyond `ALLOWED_IMPORTS` or uses a name that is neither defined nor `given`."""
    tree = ast.parse(source)
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
    defined = {name for node in ast.walk(tree) for name in _binds(node)} | set(dir(builtins)) | set(given)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = sorted(used - defined)
    if unknown:
        raise RuleRefused(f"{path} uses {', '.join(unknown)}, which is not defined at the top level of its file")


def _binds(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    return _makes(node) if isinstance(node, ast.stmt) else []
