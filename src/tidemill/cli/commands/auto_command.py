"""`tidemill auto`: train and serve a model from one file of rows, and write the project for it."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from tidemill.cli.commands.train_command import show
from tidemill.cli.program_console import ProgramConsole
from tidemill.cli.progress_line import progress_line
from tidemill.cli.promotion_lines import show_promotion
from tidemill.cli.wait_for_signal import wait_for_end
from tidemill.console.web.console_process import console_start
from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError, UsageError
from tidemill.core.settings import Serve
from tidemill.loop.auto.auto_from_file import AutoResult, auto_from_file
from tidemill.loop.auto.auto_project import AutoRequest, model_name, notes
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models.learners.auto import Prefer
from tidemill.models.tabular.typical_row import typical_row_of
from tidemill.serving.infer.infer_operation import curl_request
from tidemill.serving.process.server_handle import start


@click.command("auto")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--name", metavar="NAME", help="Name of the project folder and of the model. Default: the name of the file."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Time limit of training.",
)
@click.option(
    "--prefer",
    type=click.Choice(["simple", "best"]),
    default="simple",
    show_default=True,
    help="Select the simplest model within noise, or the one with the best validation score.",
)
@click.option("--time", metavar="COLUMN", help="Column with the time of a row. Default: the only time column.")
@click.option("--zone", metavar="ZONE", help="Time zone of times without one. Default: UTC.")
@click.option("--group", metavar="COLUMN", help="Rows with the same value stay on the same side of a split.")
@click.option(
    "--leave-out",
    multiple=True,
    metavar="COLUMN",
    help="Exclude a column, for example one that is known only after the outcome.",
)
@click.option(
    "--fairness",
    multiple=True,
    metavar="COLUMN[=GROUP]",
    help="A protected attribute: compare its groups, all with GROUP if it is given.",
)
@click.option("--helps", default="", metavar="TEXT", help="Whom the model helps, for its card. Needed to go live.")
@click.option("--could-harm", default="", metavar="TEXT", help="Whom it could harm, for its card. Needed to go live.")
@click.option("--columns", metavar="A,B,…", help="Column names of a CSV file without a header.")
@click.option(
    "--options",
    default="",
    metavar="OPTIONS",
    help="How to read the file, as in a source's URL: delimiter=semicolon&decimal=comma&encoding=…&missing=NA&sheet=…",
)
@click.option("--exit", "leave", is_flag=True, help="Exit at the end. Always so without a terminal.")
@click.option("--port", type=int, metavar="PORT", help="Port of the API. Default: 8400, or a free one with --exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    file: Path,
    target: str,
    name: str | None,
    minutes: float,
    prefer: Prefer,
    time: str | None,
    zone: str | None,
    group: str | None,
    leave_out: tuple[str, ...],
    fairness: tuple[str, ...],
    helps: str,
    could_harm: str,
    columns: str | None,
    options: str,
    leave: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Train a model that predicts one column of FILE (CSV, Excel, JSON lines or Parquet), and serve it.

    The project is written into the folder NAME. Its mill.py declares the model, so that you can go on from there. The
    release goes live if it is better than its baseline and its card says whom it helps and whom it could harm.
    """
    leave = leave or not sys.stdin.isatty()
    err = ProgramConsole(stderr=True, highlight=False, markup=False, soft_wrap=True)
    schema = infer_schema(file, tuple(columns.split(",")) if columns else (), options)
    folder = Path(name or re.sub(r"\W+", "_", file.name.partition(".")[0]).strip("_").lower() or "model")
    request = AutoRequest(
        name=model_name(folder.resolve().name),
        file=schema, target=target, minutes=minutes, prefer=prefer, time=time, zone=zone, group=group,
        left_out=leave_out, fairness=fairness, **_card_sentences(helps, could_harm, ask=not leave and not as_json),
    )  # fmt: skip
    err.print(f"Read {schema.n_rows:,} rows with {len(schema.columns)} columns. Project: {folder}/mill.py")
    for note in notes(request):
        err.print(note)
    ports = {"serve.port": 0 if leave and port is None else port, "serve.console_port": 0 if leave else None}

    def progress(step: str, details: dict[str, Any]) -> None:
        err.print(progress_line(step, details), style="dim")

    try:
        result = auto_from_file(folder.resolve(), request, clock=SystemClock(), overrides=ports, progress=progress)
    except TidemillError as error:
        if not isinstance(error, UsageError):  # that is raised before anything is written
            err.print(f"The project stays in {folder}: correct the file, and run the same command again")
        raise
    if result.promotion is None:
        _show_not_live(err, result, folder)
        _show(result, folder, as_json=as_json)
        return
    mill, settings = result.graph.mill, result.stores.settings
    plan = serve_plan(settings, overrides=ports, console=console_start(settings, ports, list(mill.models)))
    with start(plan) as server:
        server.wait_ready()
        err.print(f"{result.learned.release.name} is live on {server.url}")
        show_promotion(err, result.promotion)
        _show(result, folder, as_json=as_json)
        address = f"http://{settings.serve.host}:{Serve().port}" if leave else server.url
        again = f"cd {shlex.quote(str(folder))} && tidemill serve"
        request_line = f"{'Then ask it' if leave else 'Ask it'} with:\n  {_curl(result, address)}"
        if leave:
            err.print(f"Serve it with: {again}\n{request_line}")
        else:
            console_url = f"http://{settings.serve.host}:{settings.serve.console_port}"
            line = f"Console: {console_url}. Stop with Ctrl-C; start again with: {again}\n{request_line}"
            wait_for_end(lambda: err.print(line))


def _card_sentences(helps: str, could_harm: str, *, ask: bool) -> dict[str, str]:
    """The two sentences of the card: those of the options, else what a person at a terminal answers."""
    if ask and not helps:
        helps = click.prompt(
            "Whom does the model help? (empty: say it later, and do not go live)", "", err=True, show_default=False
        )
    if ask and not could_harm:
        could_harm = click.prompt(
            "Whom could it harm? (empty: say it later, and do not go live)", "", err=True, show_default=False
        )
    return {"helps": helps.strip(), "could_harm": could_harm.strip()}


def _show_not_live(err: Console, result: AutoResult, folder: Path) -> None:
    release, here = result.learned.release.name, shlex.quote(str(folder))
    err.print(f"{release} is ready, but not live:")
    for doubt in result.doubts:
        err.print(f"  {doubt}")
    if any("card" in doubt for doubt in result.doubts):
        err.print(
            f"Say it in {folder}/mill.py (helps=, could_harm=), and run: "
            f"cd {here} && tidemill train {result.learned.card.model}\n"
            "  The next time, give --helps and --could-harm to this command."
        )
    err.print(f"To promote it as it is: cd {here} && tidemill promote {release} && tidemill serve")


def _curl(result: AutoResult, address: str) -> str:
    release = result.learned.release
    assert release.signature is not None
    values = typical_row_of(result.stores.releases.bundle(release.bundle))
    return curl_request(address, release.model, release.signature, values)


def _show(result: AutoResult, folder: Path, *, as_json: bool) -> None:
    card = result.learned.card
    if as_json:
        fields = {
            "project": str(folder),
            "release": result.learned.release.name,
            "live": result.promotion is not None,
            "doubts": result.doubts,
            "card": card,
            "notes": result.learned.notes,
            "verdict": result.promotion.verdict if result.promotion else None,
            "request": _curl(result, f"http://127.0.0.1:{Serve().port}"),
        }
        sys.stdout.write(msgspec.json.encode(fields, enc_hook=str).decode() + "\n")
        return
    show(
        ProgramConsole(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160),
        result.learned,
        live=result.promotion is not None,
        place=f"cd {shlex.quote(str(folder))} && ",
    )
