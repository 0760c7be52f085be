"""Main entry point of the `tidemill` command: lazily loaded commands, and the format of errors."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from importlib import import_module

import click
import msgspec

from tidemill.cli.program import with_program
from tidemill.core.errors import TidemillError, UsageError, nearest
from tidemill.core.library_errors import as_tidemill_error, require_error

#: Command -> its summary, in the order in which a project uses them.
COMMANDS = {
    "demo": "Run a complete example: ingest, check, train, release, serve, monitor.",
    "init": "Create a project: code, settings, a test, a CI file.",
    "plan": "Show what a run would do, and why.",
    "run": "Ingest new days, check them, publish or hold them, update features.",
    "status": "Show what is live and which actions are required; --settings shows every setting.",
    "doctor": "Diagnose this machine and this project.",
    "check": "Show validation results of a stream; resolve a held increment.",
    "table": "Show tables: newest rows, and for each column missing values, distribution and most frequent values.",
    "features": "Show feature views: freshness, missing values, significance, train/serve skew.",
    "train": "Train a model, evaluate it, and create a release.",
    "auto": "Train and serve a model from one file of rows, and write the project for it.",
    "import": "Create a release of a model that was trained elsewhere.",
    "evaluate": "Evaluate a model, or a file of ranked lists, on later days.",
    "compare": "List runs, and compare them: settings, metrics, significance.",
    "tag": "Tag a run, to find it again.",
    "reproduce": "Train a run or a release again, and report whether the result is the same.",
    "versions": "Evaluate every version of a model's code on every version of its data.",
    "promote": "Promote a release: make it the champion.",
    "rollback": "Roll back to the previous champion.",
    "export": "Export a tabular release as a folder that predicts without tidemill.",
    "serve": "Start the API and the console.",
    "off": "Switch a model off within a second; its fallback is served, if it has one.",
    "on": "Switch a model on again.",
    "verify": "Verify everything that is stored: ledger, lake, bundles, vault, online values, logs.",
    "help": "Explain an error code, or a command.",
}

INTERRUPTED = 130


class _Lazy(click.Group):
    """A group that imports a command only when it is called, so that help appears quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        gc.disable()  # an import makes much and leaves no garbage: collecting takes a tenth of the time
        module = import_module(f"tidemill.cli.commands.{cmd_name}_command")
        gc.enable()
        gc.freeze()
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}: {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tidemill")
@click.option("--trace", is_flag=True, help="Show the full traceback of an error. It may contain data.")
def cli(trace: bool) -> None:
    """Ingest daily data, train and serve models, and keep a signed audit log of all of it.

    Every command takes --json (result on stdout). Commands on a project take --project DIR and --profile NAME.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        if "--json" in arguments:
            _write_json(UsageError.code, error.format_message(), None)
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except BaseException as error:
        require_error(error)
        if arguments[:1] == ["--trace"]:
            traceback.print_exc()
        _print_error(as_tidemill_error(error), as_json="--json" in arguments)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _write_json(code: str, message: str, tip: str | None) -> None:
    fields = {"code": code, "message": message, "tip": tip}
    sys.stdout.write(msgspec.json.encode({"error": fields}).decode() + "\n")


def _print_error(error: TidemillError, *, as_json: bool) -> None:
    if as_json:
        _write_json(error.code, error.message, error.tip)
    sys.stderr.write(with_program(f"error: {error}\n  more: tidemill help {error.code}\n"))
