"""`tidemill serve`: API server and console, until Ctrl-C."""

from __future__ import annotations

from datetime import date

import click

from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.console.web.console_process import console_start
from tidemill.core.clock import as_of
from tidemill.core.redaction import log_to_stderr
from tidemill.core.settings import load
from tidemill.loop.project.stores import STATE
from tidemill.loop.serve.prepare_server import prepare_server
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.serving import serve, set_replay


@click.command("serve")
@click.option(
    "--host", metavar="ADDRESS", help="Address to bind. Loopback only, because there is no access control yet."
)
@click.option("--port", type=int, metavar="PORT", help="Port of the API.")
@click.option("--console-port", type=int, metavar="PORT", help="Port of the console.")
@click.option("--workers", type=int, metavar="N", help="Number of API worker processes.")
@click.option(
    "--at",
    type=DayParam(),
    metavar="DAY",
    help="Replay: predict as of the end of DAY. Each publication advances the time.",
)
@click.option("--no-console", is_flag=True, help="Start the API without the console.")
@with_context
def command(
    context: CommandContext,
    host: str | None,
    port: int | None,
    console_port: int | None,
    workers: int | None,
    at: date | None,
    no_console: bool,
) -> None:
    """Serve the champions of this project: API, prediction log and console."""
    log_to_stderr("%(asctime)s %(message)s")
    overrides = {
        "serve.host": host,
        "serve.port": port,
        "serve.console_port": console_port,
        "serve.workers": workers,
    }
    settings = load(context.project, profile=context.profile, overrides=overrides)
    for note in prepare_server(lambda: (context.stores, context.graph)):
        context.err.print(note, markup=False)
    set_replay(context.project / STATE / "serving", as_of(at) if at else None)
    console = None if no_console else console_start(settings, overrides, list(context.mill.models))
    serve(serve_plan(settings, overrides=overrides, console=console))
