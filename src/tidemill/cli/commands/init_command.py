"""`tidemill init`: creation of a project from a template."""

from __future__ import annotations

import shlex
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click
import msgspec

from tidemill.cli.program import with_program
from tidemill.core.errors import UsageError

TEMPLATES = ("shop", "taxi", "churn")


@click.command("init")
@click.argument("name")
@click.option(
    "--template", type=click.Choice(TEMPLATES), default="shop", show_default=True, help="The template to start from."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(name: str, template: str, as_json: bool) -> None:
    """Create a project in the new folder NAME: mill.py, settings, a test and a CI file."""
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = "empty" if folder.is_dir() else "a folder"
        raise UsageError(f"{folder} already exists and is not {kind}; nothing was written", tip="choose another name")
    written = write_project(folder, template)
    if as_json:
        click.echo(msgspec.json.encode({"project": str(folder), "files": written}))
        return
    for file in written:
        click.echo(f"  {folder / file}")
    following = f"Next: cd {shlex.quote(name)}; put your files where tidemill.toml expects them; "
    click.echo(with_program(f"{following}tidemill plan; tidemill run --backfill"))


def write_project(folder: Path, template: str) -> list[str]:
    """Write a template to `folder`, and return the sorted names of its files."""
    name = "".join(letter if letter.isalnum() else "_" for letter in folder.resolve().name) or "shop"
    source = resources.files("tidemill.cli") / "templates" / template
    written = _copy(source, folder, name)
    (folder / "data").mkdir(exist_ok=True)
    return sorted(str(path.relative_to(folder)) for path in written)


def _copy(source: Traversable, target: Path, name: str) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for entry in source.iterdir():
        if entry.is_dir():
            if not entry.name.startswith("_"):
                written += _copy(entry, target / entry.name, name)
            continue
        file = target / (".gitignore" if entry.name == "gitignore" else entry.name)
        file.write_text(entry.read_text(encoding="utf-8").replace('"{name}"', f'"{name}"'), encoding="utf-8")
        written.append(file)
    return written
