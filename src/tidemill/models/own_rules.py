"""A rule of one's own: a plain function over candidates, and the source that is shipped with the release.

The server never imports the project file. So the function's source is cut out together with what it reaches at the
top of its file (functions, constants, imports), and only imports on `ALLOWED_IMPORTS` are let through. The columns
that it reads are found in its source: `candidates["in_stock"]` with the name written out.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tidemill.core.errors import RuleRefused
from tidemill.core.release import RuleSet

ALLOWED_IMPORTS = frozenset(
    {"__future__", "bisect", "collections", "datetime", "fractions", "functools", "itertools", "math", "numpy",
     "operator", "re", "statistics", "string", "typing", "unicodedata", "zoneinfo"}
)  # fmt: skip
FOLDER = "rules"


@dataclass(frozen=True)
class OwnRule:
    """A function of the user's as a module: its name, its source, and the fact columns that it reads."""

    function: str
    source: str
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where the module lies inside a bundle."""
        return f"{FOLDER}/{self.function}.py"


def own_rule(function: Callable[..., Any]) -> OwnRule:
    """Cut a rule's source out of its file; `RuleRefused` says why a function cannot be shipped."""
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise RuleRefused(
            f"{function!r} is no named function", tip="write `def my_rule(candidates): return …` at the top of mill.py"
        )
    name = function.__name__
    if function.__closure__ or "<locals>" in function.__qualname__ or "." in function.__qualname__:
        raise RuleRefused(
            f"the rule `{name}` is made inside another function or class", tip="move it to the top of the file"
        )
    try:
        file = _Bare().visit(ast.parse(inspect.getsource(inspect.getmodule(function) or function)))
    except (OSError, TypeError, SyntaxError) as missing:
        raise RuleRefused(
            f"the source of the rule `{name}` cannot be read", tip="define it in a file, not at a prompt"
        ) from missing
    source = _cut(file, name)
    check_source(f"{FOLDER}/{name}.py", source)
    return OwnRule(name, source, _columns(ast.parse(source), name))


class _Bare(ast.NodeTransformer):
    """Takes annotations off: they are for the type checker, and name things that are not shipped."""

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


def _cut(file: ast.Module, name: str) -> str:
    """The statements at the top of a file that `name` reaches, in their order."""
    makers: dict[str, ast.stmt] = {}
    for statement in file.body:
        for made in _makes(statement):
            makers[made] = statement
    if not isinstance(makers.get(name), ast.FunctionDef):
        raise RuleRefused(f"the rule `{name}` is not a plain `def {name}(…)` at the top of its file")
    wanted: set[int] = set()
    todo = [name]
    while todo:
        reached = makers.get(todo.pop())
        if reached is None or id(reached) in wanted:
            continue
        wanted.add(id(reached))
        todo.extend(node.id for node in ast.walk(reached) if isinstance(node, ast.Name))
    kept = [ast.unparse(statement) for statement in file.body if id(statement) in wanted]
    return "from __future__ import annotations\n\n" + "\n\n\n".join(kept) + "\n"


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


def check_source(path: str, source: str) -> None:
    """Refuse a rule module that imports beyond `ALLOWED_IMPORTS` or uses a name that it does not define."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["."]
        foreign = [name for name in names if name.split(".")[0] not in ALLOWED_IMPORTS]
        if foreign:
            raise RuleRefused(
                f"{path} imports {', '.join(foreign)}",
                tip=f"a rule may import: {', '.join(sorted(ALLOWED_IMPORTS - {'__future__'}))}",
            )
    defined = {name for node in ast.walk(tree) for name in _binds(node)} | set(dir(builtins))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = sorted(used - defined)
    if unknown:
        raise RuleRefused(f"{path} uses {', '.join(unknown)}, which its file does not define at its top in a plain way")


def _binds(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    return _makes(node) if isinstance(node, ast.stmt) else []


def _columns(tree: ast.Module, name: str) -> tuple[str, ...]:
    """The fact columns that the function reads as `candidates["column"]`, written out."""
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    if not function.args.args:
        raise RuleRefused(f"the rule `{name}` takes no argument", tip=f"write `def {name}(candidates): …`")
    first = function.args.args[0].arg
    read: set[str] = set()
    for node in ast.walk(function):
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == first):
            continue
        if not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)):
            raise RuleRefused(
                f"the rule `{name}` reads {ast.unparse(node)}", tip='write the column out: candidates["in_stock"]'
            )
        read.add(node.slice.value)
    return tuple(sorted(read))


def load_functions(
    rules: RuleSet, sources: Mapping[str, bytes], hashes: Mapping[str, str] | None = None
) -> dict[str, Callable[..., Any]]:
    """The functions of a rule set's own rules, by name, from their shipped sources.

    `hashes` (path -> sha256, as a release pins them) are compared first; a difference, a missing module or a source
    that may not be shipped raises `RuleRefused`.
    """
    found: dict[str, Callable[..., Any]] = {}
    for rule in (*rules.filter, *rules.score):
        if rule.name != "own":
            continue
        path, name = rule.args["module"], rule.args["function"]
        source = sources.get(path)
        if source is None or PurePosixPath(path).parts[0] != FOLDER or ".." in path:
            raise RuleRefused(f"the release has no module {path} for its rule `{name}`")
        if hashes is not None and hashes.get(path) != hashlib.sha256(source).hexdigest():
            raise RuleRefused(f"{path} is not the module that the release pins")
        check_source(path, source.decode())
        module = types.ModuleType(f"tidemill_rule_{name}")
        exec(compile(source, path, "exec"), module.__dict__)  # the user's own code, pinned by hash in the release
        found[name] = getattr(module, name)
    return found
