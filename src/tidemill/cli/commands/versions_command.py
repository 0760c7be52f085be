"""`tidemill versions`: how good every version of a model's code is on every version of its data."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, actor, with_context
from tidemill.core.clock import SystemClock, from_micros
from tidemill.core.errors import UsageError, nearest
from tidemill.core.records.quality import Metric
from tidemill.loop.project.stores import open_stores
from tidemill.loop.reproduce.version_table import VersionTable, version_table


@click.command("versions")
@click.argument("model")
@click.option("--measure", metavar="NAME", help="The figure to show, for example `recall@10[warm]`.")
@click.option(
    "--most", type=click.IntRange(min=1), default=5, show_default=True, help="Newest versions of each to show."
)
@with_context
def command(ask: CommandContext, model: str, measure: str | None, most: int) -> None:
    """Measure every kept version of MODEL's code on every publication that it was learned from, as one table.

    Each row is a run's code with the settings that it settled on; each column has a test of its own, on the last tenth
    of its events. Between neighbours stands what changed: files and settings, and rows. What was measured before is
    not measured again.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        ask.err.print(f"[dim]{step}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    stores = open_stores(ask.project, ask.settings, SystemClock(), actor=actor())
    found = version_table(stores, model, most=most, progress=progress)
    name = _measure(found, measure)
    ask.result({"measure": name, "table": found}, lambda out: show(out, found, name))


def _measure(found: VersionTable, asked_for: str | None) -> str:
    """The figure that was asked for, else the ranking quality of all, else the first there is."""
    known = list(dict.fromkeys(name for cell in found.cells for name in cell.metrics))
    if asked_for is None:
        return next((name for name in known if name.startswith("ndcg@") and name.endswith("[all]")), [*known, ""][0])
    if asked_for not in known:
        raise UsageError(f"no version has the figure {asked_for!r}", tip=nearest(asked_for, known))
    return asked_for


def show(out: Console, found: VersionTable, name: str) -> None:
    """The table, and under it what changed from row to row and from column to column."""
    out.print(f"{found.model}: {name} (95%)")
    heads = [f"publication {one.publication} ({from_micros(one.as_of).date()})" for one in found.data]
    table = Table("code of", "learner", *heads, box=None, pad_edge=False)
    for code in found.codes:
        cells = [found.cell(code.run, one.publication) for one in found.data]
        table.add_row(
            code.run, code.learner, *(_figure(cell.metrics[name]) if name in cell.metrics else "-" for cell in cells)
        )
    out.print(table)
    for code in found.codes:
        if code.changed:
            out.print(f"{code.run}: {'; '.join(code.changed)}")
    for one in found.data:
        told = ", ".join(f"{table} {count:,} rows" for table, count in one.rows.items())
        more = ", ".join(f"{table} {count:+,}" for table, count in one.added.items())
        out.print(f"publication {one.publication}: {told}{f' ({more})' if more else ''}")
    for cell in found.cells:
        if cell.says:
            out.print(f"{cell.run} on publication {cell.publication}: {cell.says}")
    out.print("each publication has a test of its own: compare down a column, not along a row")


def _figure(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"
