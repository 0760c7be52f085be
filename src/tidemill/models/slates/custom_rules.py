"""Custom rules: plain functions over candidates, whose source is shipped with the release.

The columns that a rule reads are found in its source: `candidates["in_stock"]` with a literal name.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import RuleRefused
from tidemill.core.records.release import RuleSet
from tidemill.models.formats.source_modules import load_shipped, shipped_function

FOLDER = "rules"


@dataclass(frozen=True)
class CustomRule:
    """A custom function as a module: its name, its source, and the fact columns that it reads."""

    function: str
    source: str
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path of the module inside a bundle."""
        return f"{FOLDER}/{self.function}.py"


def custom_rule(function: Callable[..., Any]) -> CustomRule:
    """Extract a rule's source from its file; raises `RuleRefused` with the reason if it cannot be shipped."""
    _, source, pretrained = shipped_function(function, FOLDER, "rule")
    name = function.__name__
    if pretrained:
        raise RuleRefused(
            f"the rule `{name}` uses the pre-trained model {', '.join(pretrained)}",
            tip="use it in an on-demand feature instead",
        )
    return CustomRule(name, source, _columns(ast.parse(source), name))


def _columns(tree: ast.Module, name: str) -> tuple[str, ...]:
    """The fact columns that the function reads as `candidates["column"]` with literal names."""
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    if not function.args.args:
        raise RuleRefused(f"the rule `{name}` has no parameter", tip=f"write `def {name}(candidates): …`")
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
    """The functions of a rule set's custom rules, by name, from their shipped sources.

    `hashes` (path -> sha256, as pinned by a release) are compared first; a difference, a missing module or a source
    that may not be shipped raises `RuleRefused`.
    """
    found: dict[str, Callable[..., Any]] = {}
    for rule in (*rules.filter, *rules.score):
        if rule.name != "own":
            continue
        name = rule.args["function"]
        found[name] = load_shipped(rule.args["module"], name, FOLDER, sources, hashes)
    return found
