"""Write docs/reference/ from the code: commands, settings, errors, ports and the public API.

    .venv/bin/python docs/make_reference.py            writes the pages
    .venv/bin/python docs/make_reference.py --check    says which pages are out of date, and exits with 1

What these pages say is said in the code: in option helps, in a setting's description, in a docstring. Mend it there.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import click

import tidemill
from tidemill import models
from tidemill.cli.main import COMMANDS, cli
from tidemill.core import ports
from tidemill.core.errors import AccessError, ServeError, TidemillError
from tidemill.core.settings import json_schema
from tidemill.core.storage.failpoint import FAILPOINTS
from tidemill.models.learners.settings import setting_kinds
from tidemill.serving.http.error_responses import STATUS

FOLDER = Path(__file__).resolve().parent / "reference"
PACKAGE = Path(tidemill.__file__).parent

#: The rooms in the order in which data flows.
ROOMS = (
    "core", "sources", "lake", "checks", "features", "models", "training", "release", "serving", "feedback",
    "governance", "loop", "console", "cli", "backends", "testing",
)  # fmt: skip
#: Port -> the setting that chooses its back-end, and the entry-point group that back-ends come in by.
PORTS = {
    "Tables": ("lake", "tables"),
    "Engine": ("engine", "engine"),
    "LedgerStore": ("ledger", "ledger"),
    "VaultStore": ("vault", "vault"),
    "Latest": ("latest", "latest"),
    "Blobs": ("blobs", "blobs"),
    "Objects": ("lake", "objects"),
    "VectorSearch": ("search", "search"),
    "Leases": ("leases", "leases"),
    "Source": ("sources.STREAM", "sources"),
}
_NOTE = "*Made from the code by `docs/make_reference.py`; changes made here are lost.*"


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    made = {
        "commands.md": "\n".join(commands()),
        "settings.md": "\n".join(settings()),
        "errors.md": "\n".join(errors()),
        "ports.md": "\n".join(port_pages()),
        "api.md": "\n".join(api()),
    }
    found = {name: _tidy(text) for name, text in made.items()}
    return found | {"tidemill.schema.json": json.dumps(json_schema(), indent=2) + "\n"}


def _tidy(text: str) -> str:
    """Without blanks at line ends and without more than one empty line in a row."""
    lines = [line.rstrip() for line in text.strip().split("\n")]
    kept = [line for before, line in zip(["#", *lines], lines, strict=False) if line or before]
    return "\n".join(kept) + "\n"


# ---- commands


def commands() -> Iterator[str]:
    """The command line: every command with its arguments and options."""
    yield f"# Commands\n\n{_NOTE}\n"
    yield inspect.cleandoc(import_module("tidemill.cli").__doc__ or "").partition("\n\n")[2] + "\n"
    yield "| command | what it does |\n|---|---|"
    for name, says in COMMANDS.items():
        yield f"| [`tidemill {name}`](#tidemill-{name}) | {says} |"
    context = click.Context(cli, info_name="tidemill")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None, name
        yield from _command(f"tidemill {name}", command)


def _command(name: str, command: click.Command) -> Iterator[str]:
    with click.Context(command, info_name=name) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        options = [record for option in command.params if (record := option.get_help_record(context))]
    yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{name} {usage}\n```"
    if any(says for _, says in options):
        yield "\n| option | |\n|---|---|"
        for option, says in (record for record in options if record[1]):
            yield f"| `{_cell(option)}` | {_cell(says)} |"
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            found = command.get_command(context, part)
            assert found is not None
            yield from _command(f"{name} {part}", found)


# ---- settings


def settings() -> Iterator[str]:
    """tidemill.toml: every key of a profile."""
    parts = json_schema()["$defs"]
    yield f"# Settings\n\n{_NOTE}\n"
    yield "`tidemill.toml` lies beside `mill.py`. It has a table for each profile; `laptop` is the default one, and an"
    yield "empty or missing file is that profile with all defaults. An argument wins over `TIDEMILL_<KEY>__<SUB>`, that"
    yield "over the file, the file over the default. `tidemill status --settings` shows each value and its origin.\n"
    yield "Editors can check the file against [tidemill.schema.json](tidemill.schema.json).\n"
    yield "| key | type | default | |\n|---|---|---|---|"
    yield from _keys(parts["Profile"], "")
    yield "\n## Under `serve`\n\n| key | type | default | |\n|---|---|---|---|"
    yield from _keys(parts["Serve"], "serve.")


def _keys(part: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, about in part["properties"].items():
        if name == "serve":
            continue
        default = about.get("default")
        shown = "–" if default in ("", None, {}) else f"`{json.dumps(default)}`"
        yield f"| `{prefix}{name}` | {_kind(about)} | {shown} | {_cell(about.get('description', ''))} |"


def _kind(about: dict[str, Any]) -> str:
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "object":
        return "name = text"
    return {"string": "text", "integer": "whole number", "number": "number"}[about["type"]]


# ---- errors


def error_classes() -> list[type[TidemillError]]:
    """Every class of the tree, by code."""
    found, todo = [], [TidemillError]
    while todo:
        error = todo.pop()
        found.append(error)
        todo.extend(error.__subclasses__())
    return sorted(found, key=lambda error: (error.code, error.__name__))


def errors() -> Iterator[str]:
    """The error tree: code, name, builtin, HTTP status and what to do."""
    yield f"# Errors\n\n{_NOTE}\n"
    yield "Every refusal carries a code. `tidemill help TM302` prints what stands here. Under each heading stand the"
    yield "builtin that the class also is, so that `except FileNotFoundError` works as well, and the status with which"
    yield "the server answers it. An error without a status here is a 500 when it happens inside a request.\n"
    for error in error_classes():
        bases = [base for base in error.__bases__ if base.__module__ == "builtins" and base is not Exception]
        heading = "##" if error is TidemillError or TidemillError in error.__bases__ else "###"
        facts = [f"`{base.__name__}`" for base in bases]
        if issubclass(error, ServeError | AccessError):
            facts.append(f"HTTP {next(code for kind, code in STATUS if issubclass(error, kind))}")
        yield f"\n{heading} {error.code} {error.__name__}\n"
        if facts:
            yield " · ".join(facts) + "\n"
        yield inspect.cleandoc(error.__doc__ or "")


# ---- ports


def port_pages() -> Iterator[str]:
    """The ports, their methods, and what fills them."""
    yield f"# Ports\n\n{_NOTE}\n"
    yield inspect.cleandoc(ports.__doc__ or "") + "\n"
    yield "| port | setting | entry points | filled by |\n|---|---|---|---|"
    for name, (setting, group) in PORTS.items():
        filled = ", ".join(f"`{point.name}`" for point in sorted(metadata.entry_points(group=f"tidemill.{group}")))
        yield f"| [{name}](#{name.lower()}) | `{setting}` | `tidemill.{group}` | {filled} |"
    tree = ast.parse(inspect.getsource(ports))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield f"\n## {node.name}\n\n{ast.get_docstring(node) or ''}"
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"\n```python\n{_signature(part)}\n```\n\n{ast.get_docstring(part) or ''}"
    yield "\n## Failpoints\n"
    yield "Numbered places at which a test may kill the process (`TIDEMILL_FAILPOINT=NAME` or `NAME:K`).\n"
    yield "| number | name |\n|---|---|"
    for number, name in FAILPOINTS.items():
        yield f"| {number} | `{name}` |"


# ---- the public API


def api() -> Iterator[str]:
    """What `import tidemill as tm` offers, then each room's door."""
    yield f"# Public API\n\n{_NOTE}\n"
    yield "The first part is what a project file uses. The second lists the door of each room, for those who build on"
    yield "tidemill or read its code. What is not listed here may change without a word.\n\n## `import tidemill as tm`"
    for name in tidemill.__all__:
        yield from _member(f"tm.{name}", getattr(tidemill, name), whole=True)
    for room in ROOMS:
        door = import_module(f"tidemill.{room}")
        yield f"\n## tidemill.{room}\n\n{inspect.cleandoc(door.__doc__ or '')}"
        for name in getattr(door, "__all__", []):
            yield from _member(name, getattr(door, name), whole=False)


def _member(name: str, value: Any, *, whole: bool) -> Iterator[str]:
    signature = _signature_of(value)
    says = inspect.cleandoc(getattr(value, "__doc__", None) or "") if callable(value) else ""
    if not whole:
        first = " ".join(says.partition("\n\n")[0].split())
        yield f"\n- **`{name}{signature}`** {first}".rstrip()
        return
    yield f"\n### {name}\n"
    if signature:
        yield f"```python\n{name}{signature}\n```\n"
    yield _fenced(says)
    yield from _learner_settings(value)
    for part, method in _methods(value):
        says = _fenced(inspect.cleandoc(method.__doc__ or ""))
        yield f"\n```python\n{name}.{part}{_signature_of(method)}\n```\n\n{says}"


def _learner_settings(value: Any) -> Iterator[str]:
    """The settings of a learner, where `value` is the function that makes one."""
    made = getattr(models, str(getattr(value, "__annotations__", {}).get("return", "")), None)
    if not (inspect.isclass(made) and issubclass(made, models.LearnerSpec) and "**settings" in _signature_of(value)):
        return
    yield "\n| setting | type | | tried where left out |\n|---|---|---|---|"
    kinds = setting_kinds(made)
    for name, (annotation, says) in _fields(made).items():
        kind = kinds[name].words or f"`{annotation}`"
        tried = ", ".join(f"`{found}`" for found in made.GRID.get(name, ()))
        yield f"| `{name}` | {_cell(kind)} | {_cell(says)} | {tried} |"


def _fields(made: type) -> dict[str, tuple[str, str]]:
    """Field -> its type and the `#:` comment above it, in the order of the classes."""
    found: dict[str, tuple[str, str]] = {}
    for part in reversed([base for base in made.__mro__ if base.__module__.startswith("tidemill")]):
        lines = _dedented(part).split("\n")
        for node in ast.parse("\n".join(lines)).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id.islower():
                said: list[str] = []
                above = node.lineno - 2
                while lines[above].strip().startswith("#:"):
                    said.insert(0, lines[above].strip().removeprefix("#:").strip())
                    above -= 1
                found[node.target.id] = (ast.unparse(node.annotation), " ".join(said))
    return found


def _methods(value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    if inspect.isclass(value):
        for name, method in vars(value).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                yield name, method


def _fenced(text: str) -> str:
    """A docstring whose examples stand in a block of their own."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        starts = line.startswith((">>> ", "    "))
        if starts and not inside:
            lines.append("```pycon" if line.startswith(">>> ") else "```python")
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line.removeprefix("    ") if inside else line)
    return "\n".join([*lines, "```"] if inside else lines)


def _signature_of(value: Any) -> str:
    """The signature as it is written, without `self`; empty for what has none."""
    node = _definition(value)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _signature(node, named=False)
    if not isinstance(node, ast.ClassDef):
        return ""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _signature(part, named=False).partition(" -> ")[0]
    return ""


def _definition(value: Any) -> ast.AST | None:
    if isinstance(value, ModuleType) or not (inspect.isclass(value) or inspect.isfunction(value)):
        return None
    return ast.parse(_dedented(value)).body[0]


def _dedented(value: Any) -> str:
    source = inspect.getsource(value)
    indent = len(source) - len(source.lstrip())
    return "\n".join(line[indent:] for line in source.split("\n"))


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, named: bool = True) -> str:
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): ...").body[0].args  # type: ignore[attr-defined]
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args.pop(0)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name if named else ''}({ast.unparse(arguments)}){returns}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def stale() -> list[str]:
    """The names of pages that differ from the code, or are too many."""
    made = pages()
    there = {path.name for path in FOLDER.glob("*")}
    differ = [name for name, text in made.items() if name not in there or (FOLDER / name).read_text("utf-8") != text]
    return sorted([*differ, *(there - set(made))])


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which are out of date."""
    if arguments == ["--check"]:
        found = stale()
        sys.stdout.write("".join(f"{name} is out of date\n" for name in found))
        return 1 if found else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
