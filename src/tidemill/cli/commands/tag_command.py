"""`tidemill tag`: tags of a run, added and removed."""

from __future__ import annotations

import click

from tidemill.cli.context import CommandContext, with_context


@click.command("tag")
@click.argument("run")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@click.option("--remove", multiple=True, metavar="TAG", help="Remove this tag. Can be repeated.")
@with_context
def command(context: CommandContext, run: str, tags: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Add tags to a RUN such as for_you#3, to find it again; without tags, show those that it has.

    A tag has up to 40 letters, digits and . / : = + - _
    """
    tagged = context.stores.runs.tag(run, tags, remove=remove)
    text = f"{tagged.name}: {', '.join(tagged.tags) or 'no tags'}"
    context.result(
        {"run": tagged.name, "tags": tagged.tags}, lambda out: out.print(text, highlight=False, markup=False)
    )
