"""`tidemill evaluate`: how good a model, or a file of ranked lists, is on days after everything it learned from."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.commands.train_command import quality
from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.core.clock import as_of, to_micros
from tidemill.core.errors import UsageError
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.loop.training.evaluate_recommender import EvaluationResult, evaluate
from tidemill.loop.training.evaluate_tabular import TabularEvaluation, evaluate_model
from tidemill.training import Protocol

_DAY_US = 86_400_000_000


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--ranked", type=click.Path(path_type=Path), metavar="FILE", help="Measure the ranked lists in FILE instead."
)
@click.option(
    "--test-from", type=DayParam(), metavar="DAY", help="First day of the test; default: after 90% of the events."
)
@click.option("--history", type=click.Choice(["before", "earlier"]), default="before", show_default=True,
              help="What is shown of a user: events before the split, or every event before the target.")  # fmt: skip
@click.option("--target", type=click.Choice(["last", "first", "all"]), default="all", show_default=True,
              help="What has to be found of the later events.")  # fmt: skip
@click.option("--by", metavar="COLUMN", help="A fact column of the items: figures and exposure for each of its values.")
@click.option("--leave-one-out", is_flag=True, help="Beside it, the last event of each user; it leaks the future.")
@with_context
def command(
    ask: CommandContext,
    model: str,
    ranked: Path | None,
    test_from: date | None,
    history: Any,
    target: Any,
    by: str | None,
    leave_one_out: bool,
) -> None:
    """Measure MODEL (`for_you`: its champion, or `for_you@3`) on days after everything that it learned from.

    Its settings are learned again from the days before the test. With --ranked, lists that something else made are
    measured in the same way: a CSV, Parquet or JSON-lines file with a user, an item, and a rank or a score.

    A tabular MODEL is measured on the rows that came in after it was learned; nothing is learned again.
    """

    def progress(what: str, details: dict[str, Any]) -> None:
        ask.err.print(f"[dim]{what}[/] {', '.join(f'{name} {value}' for name, value in details.items())}")

    if model.partition("@")[0] in ask.graph.askings:
        if ranked or test_from or by or leave_one_out:
            raise UsageError(
                f"{model} is a tabular model, measured on the rows that came in since it was learned",
                tip=f"tidemill evaluate {model}",
            )
        answered = evaluate_model(ask.stores, ask.graph, model, progress=progress)
        said = {"what": answered.what, "assessment": answered.assessment, "run": answered.run}
        ask.result(said, lambda out: show_answered(out, answered))
        return
    found = evaluate(
        ask.stores,
        ask.graph,
        model,
        at=to_micros(as_of(test_from)) - _DAY_US if test_from else None,
        protocol=Protocol(history=history, target=target),
        ranked=ranked,
        by=by,
        beside=leave_one_out,
        progress=progress,
    )
    ask.result(
        {
            "what": found.what,
            "evaluation": found.evaluation,
            "leave_one_out": found.leave_one_out,
            "run": found.run,
        },
        lambda out: show(out, found),
    )


def show_answered(out: Console, found: TabularEvaluation) -> None:
    """How good a tabular release is on rows that it never saw."""
    show_assessment(out, found.assessment)
    out.print(f"kept as the run {found.run}")


def show(out: Console, found: EvaluationResult) -> None:
    """The figures, the parts, what stands in the lists, and what to beware of."""
    told = found.evaluation
    out.print(f"{found.what}: {told.protocol}")
    out.print(quality(told))
    out.print()
    out.print(parts(told))
    out.print(told.worst)
    out.print()
    out.print(kinds(told))
    out.print()
    out.print(exposure(told))
    out.print(
        f"never trained on: {told.cold_targets or 0:.1%} of the targets; "
        f"repeats of what the user had: {told.repeats or 0:.1%} of later events"
    )
    for warning in told.warnings:
        out.print(f"beware: {warning}")
    if found.leave_one_out:
        out.print()
        out.print(f"beside it, {found.leave_one_out.protocol}")
        out.print(quality(found.leave_one_out))
        for warning in found.leave_one_out.warnings:
            out.print(f"beware: {warning}")
    out.print(f"kept as the run {found.run}")


def parts(told: Evaluation) -> Table:
    """Every part of users and targets by NDCG, with the p of its difference after Holm."""
    name = f"ndcg@{told.k}"
    table = Table("part", "", "n", name, told.baseline, "difference (95%)", "Holm p", box=None, pad_edge=False)
    before = ""
    for part in told.parts:
        family = part.family if part.family != before else ""
        before = part.family
        if name not in part.model:
            table.add_row(family, part.users, f"{part.n_users:,}", part.note, "", "", "")
            continue
        table.add_row(
            family,
            part.users,
            f"{part.n_users:,}",
            f"{part.model[name].value:.4f}",
            f"{part.baseline[name].value:.4f}",
            _difference(part.difference[name]),
            f"{part.p_holm[name]:.3f}",
        )
    return table


def kinds(told: Evaluation) -> Table:
    """What stands in the lists beside what was taken."""
    table = Table(
        "lists",
        "events an item",
        "percentile",
        "head",
        "gini",
        "coverage",
        "novelty",
        "diversity",
        box=None,
        pad_edge=False,
    )
    for name, one in told.lists.items():
        cells = [
            _or_none(one.popularity, ".1f"),
            _or_none(one.percentile, ".2f"),
            _or_none(one.head_share, ".1%"),
            _or_none(one.gini, ".3f"),
            f"{one.coverage:.1%}",
            _or_none(one.novelty, ".1f"),
            _or_none(one.diversity, ".3f"),
        ]
        table.add_row({"model": told.model, "baseline": told.baseline}.get(name, name), *cells)
    return table


def exposure(told: Evaluation) -> Table:
    """The attention that groups of items get, beside what was taken of them."""
    table = Table("items by", "", "items", "shown", "taken", "shown/taken (95%)", box=None, pad_edge=False)
    before = ""
    for one in told.exposure:
        by = one.by if one.by != before else ""
        before = one.by
        ratio = f"{one.ratio.value:.2f} ({one.ratio.low:.2f} to {one.ratio.high:.2f})" if one.ratio else "nothing taken"
        table.add_row(by, one.group, f"{one.n_items:,}", f"{one.shown.value:.1%}", f"{one.taken.value:.1%}", ratio)
    return table


def _difference(metric: Metric) -> str:
    return f"{metric.value:+.4f} ({metric.low:+.4f} to {metric.high:+.4f})"


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
