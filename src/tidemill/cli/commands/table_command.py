"""`tidemill table`: the tables of the lake, and the profile of one: its columns and newest rows."""

from __future__ import annotations

from collections.abc import Mapping

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.formatting import count
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.features.distribution import Distribution
from tidemill.features.table_profile import PreviewCell, TableProfile, TableSize, table_profile, table_size
from tidemill.loop.online.feature_metadata_files import declared_features

_BLOCKS = "▁▂▃▄▅▆▇█"
#: Columns of the preview, unless they are chosen.
_SHOWN = 8


@click.command("table")
@click.argument("name", required=False)
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only this column; repeat it for more.")
@click.option(
    "--rows", type=click.IntRange(0, 100), default=10, show_default=True, metavar="N", help="Number of previewed rows."
)
@with_context
def command(context: CommandContext, name: str | None, columns: tuple[str, ...], rows: int) -> None:
    """Show the published tables, or the newest rows and the columns of the table NAME."""
    view = context.stores.lake.view()
    if name is None:
        sizes = [table_size(view, table) for table in sorted(view.versions)]
        context.result(sizes, lambda out: show(out, sizes, view.external))
        return
    if name in view.external:
        pin = view.external[name]
        context.result(pin, lambda out: show_external(out, name, pin, view.publication))
        return
    about = declared_features(context.stores.serving_root).table(name)
    found = table_profile(view, name, personal=about.personal if about else None, columns=columns or None, preview=rows)
    context.result(found, lambda out: show_profile(out, found, whole=bool(columns)))


def show(out: Console, sizes: list[TableSize], external: Mapping[str, ExternalPin]) -> None:
    """Print one line per table, and one per external table."""
    table = Table("table", "rows", "columns", "files", "MB", "version", box=None, pad_edge=False)
    for one in sizes:
        figures = (one.rows, len(one.names), one.files)
        table.add_row(one.table, *(f"{n:,}" for n in figures), f"{one.size_bytes / 1e6:,.1f}", str(one.version))
    out.print(table)
    if external:
        others = Table("external table", "version read", "place", box=None, pad_edge=False)
        for name, pin in sorted(external.items()):
            others.add_row(name, pin.says, pin.place)
        out.print()
        out.print(others)


def show_external(out: Console, name: str, pin: ExternalPin, publication: int) -> None:
    """Print the pinned version of an external table, and its columns."""
    out.print(f"{name}: external table, {pin.says}, publication {publication}\n{pin.place}\n")
    table = Table("column", "type", box=None, pad_edge=False)
    for column, kind in pin.columns.items():
        table.add_row(column, kind)
    out.print(table)


def show_profile(out: Console, found: TableProfile, *, whole: bool) -> None:
    """Print the newest rows, a line per column, and what the figures are of; `whole`: all columns in the preview."""
    size = found.size
    out.print(
        f"{size.table}: {count(size.rows, 'row')}, {count(len(size.names), 'column')}, version {size.version}, "
        f"publication {size.publication}"
    )
    shown = found.columns if whole else found.columns[:_SHOWN]
    if found.preview:
        preview = Table(*(one.name for one in shown), box=None, pad_edge=False)
        for row in found.preview:
            preview.add_row(*(_cell(cell) for cell in row[: len(shown)]))
        more = f", {len(shown)} of {len(found.columns)} columns" if len(shown) < len(found.columns) else ""
        out.print(f"\nNewest {count(len(found.preview), 'row')}{more}:")
        out.print(preview)
    table = Table(
        "column", "type", "missing", "distinct", "min", "25%", "median", "75%", "max", "distribution", box=None,
        pad_edge=False,
    )  # fmt: skip
    for one in found.columns:
        quartiles = one.quartiles or (None, None, None)
        ends = (None, None) if one.kind == "boolean" else (one.min, one.max)
        figures = [one.text(value) for value in (ends[0], *quartiles, ends[1])]
        about = "≈" if not one.exact else ""
        distinct = "-" if one.distinct is None else f"{'≥' if found.is_sample else ''}{one.distinct:,}"
        text = "identifies people: not shown" if one.name in found.personal else _distribution(one.distribution)
        table.add_row(one.name, one.kind, f"{about}{one.missing:.1%}", distinct, *figures, text)
    out.print()
    out.print(table)
    if found.is_sample:
        out.print(
            f"A sample of {found.read_rows:,} rows from {found.read_files} of {count(size.files, 'file')}; missing, "
            "min and max are of all rows, except where marked with ≈; distinct is at least that of the sample."
        )
    if found.personal:
        out.print(
            f"The rows describe people: a value that fewer than {FEWEST_USERS} rows share is not shown, nor minimum "
            "and maximum."
        )


def _cell(cell: PreviewCell) -> str:
    return {"missing": "-", "hidden": "(hidden)"}.get(cell.state, cell.text)


def _distribution(given: Distribution | None) -> str:
    """A histogram as blocks, or the most frequent values with their shares."""
    if given is None:
        return "-"
    if given.stretches:
        counts = [FEWEST_USERS / 2 if one.n is None else one.n for one in given.stretches]
        return "".join(_BLOCKS[round(n / max(counts) * (len(_BLOCKS) - 1))] if n else " " for n in counts)
    return ", ".join(f"{one.value or '(empty)'} {one.n / given.n:.0%}" for one in given.frequent[:3])
