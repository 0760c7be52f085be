"""Write docs/reference/ from the code: commands, settings, errors, ports and the public API.

    .venv/bin/python docs/make_reference.py            writes the pages
    .venv/bin/python docs/make_reference.py --check    lists the pages that are out of date, and exits with 1 if any

The text comes from the code: option help, descriptions of settings, docstrings. Correct it there.
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

#: The folders of the package in the order in which data flows.
ROOMS = (
    "core", "sources", "lake", "checks", "features", "models", "training", "release", "serving", "feedback",
    "governance", "loop", "console", "cli", "backends", "testing",
)  # fmt: skip
#: Port -> the setting that selects its back-end, and the entry-point group of its back-ends.
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
    "ExternalTable": ("external.NAME", "external"),
}
_NOTE = "*Generated from the code by `docs/make_reference.py`; do not edit.*"


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    texts = {
        "commands.md": "\n".join(commands()),
        "settings.md": "\n".join(settings()),
        "errors.md": "\n".join(errors()),
        "ports.md": "\n".join(port_pages()),
        "api.md": "\n".join(api()),
    }
    tidied = {name: _tidy(text) for name, text in texts.items()}
    return tidied | {"tidemill.schema.json": json.dumps(json_schema(), indent=2) + "\n"}


def _tidy(text: str) -> str:
    """Text without trailing blanks and consecutive empty lines."""
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
    yield "`tidemill.toml` is in the folder of `mill.py`. It has a table for each profile; `laptop` is the default."
    yield "An empty or missing file is that profile with all defaults. Precedence: argument, environment variable"
    yield "`TIDEMILL_<KEY>__<SUB>`, file, default. `tidemill status --settings` shows each value and its origin.\n"
    yield "Editors can validate the file with [tidemill.schema.json](tidemill.schema.json).\n"
    yield "| key | type | default | |\n|---|---|---|---|"
    yield from _keys(parts["Profile"], "")
    yield "\n## Under `serve`\n\n| key | type | default | |\n|---|---|---|---|"
    yield from _keys(parts["Serve"], "serve.")


def _keys(part: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, about in part["properties"].items():
        if name == "serve":
            continue
        default = about.get("default")
        shown = "–" if default in ("", None, {}, []) else f"`{json.dumps(default)}`"
        yield f"| `{prefix}{name}` | {_kind(about)} | {shown} | {_cell(about.get('description', ''))} |"


def _kind(about: dict[str, Any]) -> str:
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "object":
        return "table of strings"
    if about.get("type") == "array":
        return "list of strings"
    return {"string": "string", "integer": "integer", "number": "number"}[about["type"]]


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
    """The error tree: code, name, builtin base class, HTTP status and remedy."""
    yield f"# Errors\n\n{_NOTE}\n"
    yield "Every error has a code. `tidemill help TM302` prints the text of this page. Below each heading are the"
    yield "builtin base class, so that for example `except FileNotFoundError` works as well, and the HTTP status of the"
    yield "response. An error without a status here is a 500 when it occurs in a request.\n"
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
    """The ports, their methods, and their back-ends."""
    yield f"# Ports\n\n{_NOTE}\n"
    yield inspect.cleandoc(ports.__doc__ or "") + "\n"
    yield "| port | setting | entry points | back-ends |\n|---|---|---|---|"
    for name, (setting, group) in PORTS.items():
        filled = ", ".join(f"`{point.name}`" for point in sorted(metadata.entry_points(group=f"tidemill.{group}")))
        yield f"| [{name}](#{name.lower()}) | `{setting}` | `tidemill.{group}` | {filled} |"
    for name in ports.__all__:
        (node,) = ast.parse(inspect.getsource(getattr(ports, name))).body
        if isinstance(node, ast.ClassDef):
            yield f"\n## {node.name}\n\n{ast.get_docstring(node) or ''}"
            for part in node.body:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
                    yield f"\n```python\n{_signature(part)}\n```\n\n{ast.get_docstring(part) or ''}"
    yield "\n## Failpoints\n"
    yield "Numbered points at which a test can kill the process (`TIDEMILL_FAILPOINT=NAME` or `NAME:K`).\n"
    yield "| number | name |\n|---|---|"
    for number, name in FAILPOINTS.items():
        yield f"| {number} | `{name}` |"


# ---- the public API


def api() -> Iterator[str]:
    """The names of `import tidemill as tm`, then the public names of each folder."""
    yield f"# Public API\n\n{_NOTE}\n"
    yield "The first part is for project files. The second lists the public names of each folder, for those who extend"
    yield "tidemill or read its code. Anything not listed here may change without notice.\n\n## `import tidemill as tm`"
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
    """The settings of a learner, if `value` is its factory function."""
    made = getattr(models, str(getattr(value, "__annotations__", {}).get("return", "")), None)
    if not (inspect.isclass(made) and issubclass(made, models.LearnerSpec) and "**settings" in _signature_of(value)):
        return
    yield "\n| setting | type | | values tried by default |\n|---|---|---|---|"
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
    """A docstring with its examples in fenced blocks."""
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
    """The signature as in the source, without `self`; empty if there is none."""
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
    """The names of pages that differ from the code, and of files that are not generated."""
    generated = pages()
    on_disk = {path.name for path in FOLDER.glob("*")}
    differ = [
        name for name, text in generated.items() if name not in on_disk or (FOLDER / name).read_text("utf-8") != text
    ]
    return sorted([*differ, *(on_disk - set(generated))])


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` list those that are out of date."""
    if arguments == ["--check"]:
        outdated = stale()
        sys.stdout.write("".join(f"{name} is out of date\n" for name in outdated))
        return 1 if outdated else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
