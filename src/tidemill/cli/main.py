"""The `tidemill` command: its list of commands, loaded when called, and what errors look like."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import click
import msgspec

from tidemill.core.errors import PlaceRefused, TidemillError

#: Command -> what it does, in the order of a project's life.
COMMANDS = {
    "demo": "A shop's whole life: stream, gate, train, release, serve, watch.",
    "init": "Write a project: code, settings, a test, a CI file.",
    "plan": "What a run would do, and why.",
    "run": "Bring in what is due, check it, publish or hold it, refresh features.",
    "status": "What is live and what needs me; --settings shows every setting.",
    "doctor": "What is wrong with this machine or this project.",
    "check": "What the gate thinks of a stream; settle a held increment.",
    "features": "What is kept ready for answers, how old it is, and whether training sees the same.",
    "train": "Learn a model, evaluate it, and make a release of it.",
    "auto": "From a file of rows to a served model, and the project that it amounts to.",
    "import": "Make a release of a model that was learned elsewhere.",
    "evaluate": "How good a model, or a file of ranked lists, is on later days.",
    "compare": "What was tried, and whether one run is better than another.",
    "reproduce": "Learn a run or a release again, and say whether it is the same.",
    "versions": "How good every version of a model's code is on every version of its data.",
    "promote": "Make a release the champion.",
    "rollback": "Bring back the champion before.",
    "export": "A tabular release as a folder that answers without tidemill.",
    "serve": "The API and the console.",
    "off": "Switch a model off: its fallback or nothing, within a second.",
    "on": "Switch a model on again.",
    "audit": "Verify the ledger.",
    "lake": "Verify the lake's files.",
    "help": "Explain an error code, or a command.",
}

INTERRUPTED = 130


class _Lazy(click.Group):
    """A group that imports a command when it is called, so that help appears at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"tidemill.cli.commands.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tidemill")
@click.option("--trace", is_flag=True, help="Show the whole trace of an error; it may quote data.")
def cli(trace: bool) -> None:
    """From a stream of days to a live model, and an account of all of it.

    Every command takes --json (result on stdout); those on a project take --project DIR and --profile NAME.
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
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # whoever read stdout had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if arguments[:1] == ["--trace"]:
            traceback.print_exc()
        _tell(_worded(error), as_json="--json" in arguments)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _worded(error: Exception) -> TidemillError:
    """The error in the house's words. Of one that the house does not know, only its kind and place: what it says may
    quote data.
    """
    if isinstance(error, TidemillError):
        return error
    if isinstance(error, OSError) and error.strerror:
        place = f" {error.filename}" if error.filename else " a file"
        return PlaceRefused(
            f"the machine did not let us read or write{place}: {error.strerror}",
            tip="mend that (`tidemill doctor` shows the free space) and type the same command again",
        )
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return TidemillError(
        f"{type(error).__name__} in {frame.filename}:{frame.lineno}, which tidemill does not expect",
        tip="tidemill --trace COMMAND shows all of it; what was published before stays as it is",
    )


def _tell(error: TidemillError, *, as_json: bool) -> None:
    if as_json:
        about = {"code": error.code, "message": error.message, "tip": error.tip}
        sys.stdout.write(msgspec.json.encode({"error": about}).decode() + "\n")
    sys.stderr.write(f"error: {error}\n  more: tidemill help {error.code}\n")
