"""`tidemill versions`: a table of metrics for every version of a model's code on every version of its data."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.clock import from_micros
from tidemill.core.errors import UsageError, nearest
from tidemill.core.records.quality import Metric
from tidemill.loop.reproduce.version_table import VersionTable, version_table


@click.command("versions")
@click.argument("model")
@click.option("--measure", metavar="NAME", help="The metric to show, for example `recall@10[warm]`.")
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of newest versions to show of code and of data.",
)
@with_context
def command(context: CommandContext, model: str, measure: str | None, most: int) -> None:
    """Evaluate every recorded version of MODEL's code on every publication that it was trained on, as one table.

    Each row is the code of a run with its chosen settings. Each column has its own test set: the last tenth of its
    events. The changes between neighbours are listed: files, settings and rows. Results of earlier calls are reused.
    """

    def progress(step: str, details: dict[str, Any]) -> None:
        context.err.print(f"[dim]{step}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    found = version_table(context.stores, model, most=most, progress=progress)
    name = _measure(found, measure)
    context.result({"measure": name, "table": found}, lambda out: show(out, found, name))


def _measure(found: VersionTable, requested: str | None) -> str:
    """The requested metric, else the NDCG of all users, else the first metric."""
    known = list(dict.fromkeys(name for cell in found.cells for name in cell.metrics))
    if requested is None:
        return next((name for name in known if name.startswith("ndcg@") and name.endswith("[all]")), [*known, ""][0])
    if requested not in known:
        raise UsageError(f"no version has the metric {requested!r}", tip=nearest(requested, known))
    return requested


def show(out: Console, found: VersionTable, name: str) -> None:
    """Print the table, then the changes from row to row and from column to column."""
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
        rows = ", ".join(f"{table} {count:,} rows" for table, count in one.rows.items())
        more = ", ".join(f"{table} {count:+,}" for table, count in one.added.items())
        out.print(f"publication {one.publication}: {rows}{f' ({more})' if more else ''}")
    for cell in found.cells:
        if cell.says:
            out.print(f"{cell.run} on publication {cell.publication}: {cell.says}")
    out.print("Each publication has its own test set: compare within a column, not within a row.")


def _figure(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"
