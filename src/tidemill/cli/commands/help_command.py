"""`tidemill help`: explanation of an error code or of a command."""

from __future__ import annotations

import inspect

import click
import msgspec

from tidemill.core.errors import UsageError, all_errors, nearest


@click.command("help")
@click.argument("word", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(ctx: click.Context, word: str | None, as_json: bool) -> None:
    """Explain an error code such as TM302, or a command."""
    group = ctx.parent.command if ctx.parent else None
    assert isinstance(group, click.Group) and ctx.parent is not None
    if word is None:
        _print_help("tidemill", group.get_help(ctx.parent), as_json=as_json)
        return
    known = {error.code: error for error in all_errors()}
    if word.upper() in known:
        error = known[word.upper()]
        text = inspect.cleandoc(error.__doc__ or "")
        if as_json:
            click.echo(msgspec.json.encode({"code": error.code, "name": error.__name__, "says": text}))
        else:
            click.echo(f"{error.code} {error.__name__}\n\n{text}")
        return
    found = group.get_command(ctx.parent, word)
    if found is None:
        about = known if word.upper().startswith("TM") else group.list_commands(ctx)
        raise UsageError(f"there is no error code or command {word!r}", tip=nearest(word, about))
    with click.Context(found, info_name=f"tidemill {word}") as inner:
        _print_help(word, found.get_help(inner), as_json=as_json)


def _print_help(name: str, text: str, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode({"command": name, "says": text}) if as_json else text)
