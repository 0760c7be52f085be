"""`tidemill auto`: from a file of rows to a served model, and the project that it amounts to."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from tidemill.cli.commands.train_command import show
from tidemill.cli.context import actor
from tidemill.cli.progress_line import progress_line
from tidemill.cli.wait_for_signal import wait_for_end
from tidemill.console.web.console_process import console_start
from tidemill.core.clock import SystemClock
from tidemill.loop.auto.auto_from_file import AutoResult, auto_from_file
from tidemill.loop.auto.auto_project import AutoRequest, model_name, notes
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.serving.process.server_handle import start


@click.command("auto")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="COLUMN", help="What is to be foretold.")
@click.option("--name", metavar="NAME", help="The project's folder and the model; default: the file's name.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=2.0, show_default=True, help="Deadline."
)
@click.option("--time", metavar="COLUMN", help="When a row counts; default: the only column of times.")
@click.option("--zone", metavar="ZONE", help="The zone of times that do not say theirs; default: UTC.")
@click.option("--group", metavar="COLUMN", help="Rows that share it never stand on both sides of a split.")
@click.option("--leave-out", multiple=True, metavar="COLUMN", help="No input: what is known only afterwards.")
@click.option("--fairness", multiple=True, metavar="COLUMN", help="An attribute by which nobody may be treated worse.")
@click.option("--columns", metavar="A,B,…", help="The fields of a CSV file without a header.")
@click.option("--exit", "leave", is_flag=True, help="Stop at the end; without a terminal it does so anyway.")
@click.option("--port", type=int, metavar="PORT", help="The API's port; default 8400, or a free one with --exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    file: Path,
    target: str,
    name: str | None,
    minutes: float,
    time: str | None,
    zone: str | None,
    group: str | None,
    leave_out: tuple[str, ...],
    fairness: tuple[str, ...],
    columns: str | None,
    leave: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Learn to foretell one column of FILE (CSV, JSON lines or Parquet), and serve what was learned.

    The project is written into a folder called NAME, with the mill.py that all this amounts to.
    """
    leave = leave or not sys.stdin.isatty()
    err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    seen = infer_schema(file, tuple(columns.split(",")) if columns else ())
    folder = Path(name or re.sub(r"\W+", "_", file.name.partition(".")[0]).strip("_").lower() or "model")
    asked = AutoRequest(
        name=model_name(folder.resolve().name),
        file=seen, target=target, minutes=minutes, time=time, zone=zone, group=group, left_out=leave_out,
        fairness=fairness,
    )  # fmt: skip
    err.print(f"{seen.n_rows:,} rows of {len(seen.columns)} columns; the project is {folder}/mill.py")
    for note in notes(asked):
        err.print(note)
    ports = {"serve.port": 0 if leave and port is None else port, "serve.console_port": 0 if leave else None}

    def progress(what: str, details: dict[str, Any]) -> None:
        err.print(progress_line(what, details), style="dim")

    made = auto_from_file(
        folder.resolve(), asked, clock=SystemClock(), overrides=ports, actor=actor(), progress=progress
    )
    mill, settings = made.graph.mill, made.stores.settings
    plan = serve_plan(settings, overrides=ports, console=console_start(settings, ports, mill.model_names))
    with start(plan) as server:
        server.wait_ready()
        err.print(f"{made.release.name} is live on {server.url}")
        _show(made, folder, as_json=as_json)
        if not leave:
            console_url = f"http://{settings.serve.host}:{settings.serve.console_port}"
            err.print(f"the console is on {console_url}; Ctrl-C ends it, `cd {folder}; tidemill serve` begins it again")
            wait_for_end()


def _show(made: AutoResult, folder: Path, *, as_json: bool) -> None:
    card = made.learned.card
    if as_json:
        said = {"project": str(folder), "release": made.release.name, "card": card, "notes": made.learned.notes}
        sys.stdout.write(msgspec.json.encode(said, enc_hook=str).decode() + "\n")
        return
    show(Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160), made.learned, live=True)
