"""Context of a command: its project, profile and output format, with the stores opened on first use."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from rich.console import Console

from tidemill.cli.program_console import ProgramConsole
from tidemill.core import settings
from tidemill.core.clock import FIRST_DAY, LAST_DAY, OUT_OF_RANGE, SystemClock
from tidemill.core.settings import Settings
from tidemill.core.storage import failpoint
from tidemill.core.storage.durable_files import create_private_files
from tidemill.loop.project.external_inputs import ExternalInputs
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.project import find_project, load_mill
from tidemill.loop.project.stores import STATE, Stores, identity, open_stores

#: Width of a table without a terminal.
_PIPED_COLUMNS = 160


@dataclass(frozen=True)
class CommandContext:
    """The options that all commands share, and the project and stores that they select."""

    project_at: Path
    profile: str | None
    as_json: bool
    #: Where the result goes as JSON; the project's own code prints to stderr meanwhile.
    stdout: TextIO = field(default_factory=lambda: sys.stdout)

    @functools.cached_property
    def project(self) -> Path:
        """The folder with mill.py."""
        return find_project(self.project_at)

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings of the requested profile."""
        loaded = settings.load(self.project, profile=self.profile)
        failpoint.arm(loaded.failpoint)
        return loaded

    @functools.cached_property
    def mill(self) -> Mill:
        """The loaded project file."""
        return load_mill(self.project)

    @functools.cached_property
    def stores(self) -> Stores:
        """The project's open stores; created before the first run. After it, mill.py is not loaded for them."""
        create_private_files()
        opened = self.has_run and identity(self.project, None).keys
        name = None if opened else self.mill.name
        return open_stores(self.project, self.settings, SystemClock(), name=name)

    @functools.cached_property
    def graph(self) -> ProjectGraph:
        """The validated graph."""
        return ProjectGraph.of_project(self.mill, self.stores)

    @property
    def has_run(self) -> bool:
        """Whether the project has stored state."""
        return (self.project / STATE / "mill.json").is_file()

    def graph_alone(self) -> ProjectGraph:
        """The validated graph, without opening or creating a store."""
        engine, places = self.settings.engine, [*self.settings.external.values()]
        places += [one.place for one in self.mill.external_tables.values() if one.place]
        # a table of Spark's catalogue is known to the real session only; otherwise no cluster is asked
        name = engine if any(place.startswith("spark:") for place in places) else engine.partition(":")[0]
        external = ExternalInputs(self.mill.external_tables, self.project, self.settings.external)
        return ProjectGraph(self.mill, open_port("engine", name, self.project), self.project, external)

    @functools.cached_property
    def err(self) -> Console:
        """Console on stderr, for progress and messages."""
        return ProgramConsole(stderr=True, highlight=False, soft_wrap=True)

    @functools.cached_property
    def out(self) -> Console:
        """Console on stdout, for results. Markup is off, because names and reasons may contain brackets."""
        return ProgramConsole(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS)

    def result(self, value: Any, show: Callable[[Console], None]) -> None:
        """Print a result as JSON, or with `show`."""
        if self.as_json:
            self.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
        else:
            show(self.out)


def with_context(function: Callable[..., Any]) -> Any:
    """Pass a `CommandContext` to a command, and add the options that every command has."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option(
        "--project", default=".", metavar="DIR", help="The folder with mill.py. Default: this folder or a parent."
    )
    @click.option("--profile", metavar="NAME", help="The profile in tidemill.toml. Default: laptop.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, project: str, profile: str | None, **options: Any) -> Any:
        context = CommandContext(Path(project), profile, as_json)
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            return function(context, *args, **options)

    return wrapped


class DayParam(click.ParamType[date]):
    """A calendar date, YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            day = value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date. Write YYYY-MM-DD.", param, ctx)
        if not FIRST_DAY <= day <= LAST_DAY:
            self.fail(f"{value} {OUT_OF_RANGE}.", param, ctx)
        return day
