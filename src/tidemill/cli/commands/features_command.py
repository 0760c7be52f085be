"""`tidemill features`: feature views with their freshness, columns, significance and train/serve skew."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.core.clock import from_micros, to_micros
from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.formatting import count
from tidemill.loop.features.feature_report import FeatureReport, feature_report
from tidemill.loop.features.skew_report import skew_report
from tidemill.loop.online.feature_metadata_files import SkewReport, write_skew


@click.command("features")
@click.argument("view", required=False)
@click.option(
    "--skew",
    "model",
    metavar="MODEL",
    help="Compare the features that MODEL was served with those that training would see.",
)
@click.option(
    "--significance", is_flag=True, help="Test whether each column is related to the targets of the models that use it."
)
@with_context
def command(context: CommandContext, view: str | None, model: str | None, significance: bool) -> None:
    """Show the feature views, or the columns of one VIEW, as they are online now."""
    if model is not None:
        if view is not None:
            raise UsageError(f"--skew {model} compares all views of the model", tip=f"remove {view} from the command")
        report = skew_report(context.stores, context.graph, model)
        write_skew(context.stores.serving_root, report, to_micros(context.stores.clock.now()))
        context.result(report, lambda out: show_skew(out, report))
        return
    views = context.graph.mill.features_views
    if view is not None and view not in views:
        raise UnknownName(f"there is no feature view {view!r}", tip=nearest(view, views))
    found = feature_report(context.stores, context.graph, only=view, significant=significance)
    if view is None and not significance:
        context.result(found, lambda out: show(out, found))
        return
    context.result(found, lambda out: show_views(out, found))


def show_views(out: Console, found: tuple[FeatureReport, ...]) -> None:
    """Print each view with its columns."""
    for one in found:
        if len(found) > 1:
            out.print(f"\n{one.name}", markup=False)
        show_view(out, one)
    if not found:
        show(out, found)


def show(out: Console, found: tuple[FeatureReport, ...]) -> None:
    """Print one row per view."""
    if not found:
        out.print("mill.py has no feature views. Declare one with: @mill.features(entity=…)", markup=False)
        return
    table = Table(
        "view", "entity", "kind", "owner", "rows", "age", "expired", "missing", "used by", box=None, pad_edge=False
    )
    for one in found:
        rows = f"{one.freshness.rows:,}" if one.made else "never built"
        shares = [f"{one.freshness.expired:.1%}", f"{one.missing:.1%}"] if one.freshness.rows else ["-", "-"]
        used = ", ".join(one.consumers) or "-"
        table.add_row(one.name, one.entity, one.kind, one.owner or "-", rows, age(one), *shares, used)
    out.print(table)


def show_view(out: Console, one: FeatureReport) -> None:
    """Print a view, its columns, and the code that opens it in a notebook."""
    if one.description:
        out.print(one.description, markup=False)
    out.print(f"{count(one.freshness.rows, 'row')} by {one.entity}, {one.kind}. Newest: {age(one)} old", markup=False)
    if one.made is not None:
        out.print(
            f"Built from publication {one.made.publication} at {from_micros(one.made.at):%Y-%m-%d %H:%M} UTC by "
            f"{one.made.by} (ledger entry {one.made.line})"
        )
    models = list(one.significance)
    table = Table("column", "type", "missing", "distinct", "mean", "min", "max", box=None, pad_edge=False)
    for model in models:
        table.add_column(f"p for {model}")
    for column in one.columns:
        figures = [_number(column.distinct), *(column.text(value) for value in (column.mean, column.min, column.max))]
        tests = [_p_value(one.significance[model].get(column.name)) for model in models]
        table.add_row(column.name, column.type, f"{column.missing:.1%}", *figures, *tests)
    out.print(table)
    if models:
        out.print(
            "p: p-value of no relation between this column alone and the target, corrected for all inputs of the model"
        )
    out.print(f"In a notebook: bench = tm.open_project(); {one.snippet}", markup=False)


def show_skew(out: Console, report: SkewReport) -> None:
    """Print a table of the features, and for each that differs one example row."""
    if not report.predictions:
        out.print(
            f"{report.release}: no logged predictions yet. The log reaches the lake with the next `tidemill run`."
        )
        return
    if not report.features:
        out.print(f"{report.release} uses no online features: no skew is possible")
        return
    out.print(
        f"{report.release}: {count(report.predictions, 'prediction')} compared with publication {report.publication}"
    )
    table = Table("feature", "view", "differing", "share", "stale only", box=None, pad_edge=False)
    for one in report.features:
        table.add_row(one.feature, one.view, f"{one.differing:,}", f"{one.share:.2%}", f"{one.behind:,}")
    out.print(table)
    for one in report.features:
        for row in one.rows[:1]:
            out.print(
                f"{one.feature} of {row.prediction_id}: served {row.logged} (of {_time(row.logged_at)}), "
                f"training would see {row.recomputed} (of {_time(row.recomputed_at)})",
                markup=False,
            )


def age(one: FeatureReport) -> str:
    """The age of the newest row: in hours up to two days, then in days."""
    if one.freshness.age_us is None:
        return "-"
    hours = one.freshness.age_us / 3_600_000_000
    return f"{hours:.1f} hours" if abs(hours) < 48 else f"{hours / 24:.1f} days"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _p_value(p: float | None) -> str:
    return "-" if p is None else "<1e-12" if p < 1e-12 else f"{p:.2g}"


def _time(at: int | None) -> str:
    return "nothing" if at is None else f"{from_micros(at):%Y-%m-%d %H:%M:%S}"
