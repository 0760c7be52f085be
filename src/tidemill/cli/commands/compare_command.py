"""`tidemill compare`: list of runs, and comparison of runs by settings, metrics and paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.context import CommandContext, with_context
from tidemill.console.state.key_metric import key_figure, rank
from tidemill.core.clock import from_micros
from tidemill.core.errors import UsageError
from tidemill.core.formatting import count
from tidemill.core.records.runs import Run
from tidemill.loop.notebook.compare_runs import compare_runs, figure_text
from tidemill.training import RunComparison

#: Prefix of metrics that compare a model with its own baseline; left out of tables of several runs.
_VS_BASELINE = "difference "


@click.command("compare")
@click.argument("what", nargs=-1, metavar="[MODEL [NUMBER]...]")
@click.option("-n", "--last", type=click.IntRange(min=1), default=20, show_default=True, help="Number of runs to list.")
@click.option("--refreshes", is_flag=True, help="Include refreshes, which train and evaluate nothing.")
@click.option("--tag", default=None, help="List only runs with this tag.")
@with_context
def command(context: CommandContext, what: tuple[str, ...], last: int, refreshes: bool, tag: str | None) -> None:
    """List the runs, newest first, or compare some: `compare for_you 3 5`, `compare for_you#3 similar#1`.

    The first run is the reference. Where two runs were evaluated on the same users, each difference has a 95% interval
    and the p-value of a paired test, corrected for multiple comparisons (Holm).
    """
    model, names = named(what)
    if names:
        found = compare_runs(context.stores, names)
        runs = [context.stores.runs.read(name) for name in names]
        key = key_figure(runs, [pair.measure for pair in found.paired])
        context.result(found, lambda out: show(out, found, key))
        return
    every = [run for run in context.stores.runs.all(model) if tag is None or tag in run.tags]
    shown = [run for run in every if refreshes or run.kind != "refresh" or run.state != "finished"]
    context.result(shown[:last], lambda out: list_runs(out, shown[:last], len(every) - len(shown)))


def named(what: Sequence[str]) -> tuple[str | None, list[str]]:
    """Either the model whose runs are listed, or the runs to compare: a model with run numbers, or full run names.

    >>> named(["for_you", "3", "5"]), named(["for_you#3", "for_you#5"]), named(["for_you"])
    ((None, ['for_you#3', 'for_you#5']), (None, ['for_you#3', 'for_you#5']), ('for_you', []))
    """
    model: str | None = None
    names: list[str] = []
    for word in what:
        before, mark, _ = word.partition("#")
        if mark:
            model = before
            names.append(word)
        elif word.isascii() and word.isdecimal():
            if model is None:
                raise UsageError(f"run number {word} needs a model", tip=f"tidemill compare MODEL {word}")
            names.append(f"{model}#{word}")
        elif names or model is not None:
            raise UsageError(f"the run number is missing after {word!r}", tip=f"write {word}#1")
        else:
            model = word
    if len(names) == 1:
        raise UsageError(
            f"{names[0]} needs a second run to compare with", tip=f"tidemill compare {model} lists its runs"
        )
    return (None, names) if names else (model, [])


def list_runs(out: Console, runs: Sequence[Run], refreshes: int = 0) -> None:
    """Print one line per run with its first metric, and how many refreshes are hidden."""
    if refreshes:
        out.print(f"{count(refreshes, 'refresh')} hidden. Show with: --refreshes")
    if not runs:
        out.print("No runs yet. Start one with: tidemill train MODEL")
        return
    table = Table("run", "kind", "state", "learner", "started", "seconds", "first metric", box=None, pad_edge=False)
    for run in runs:
        name, metric = next(iter(run.metrics.items()), ("", None))
        table.add_row(
            run.name,
            run.kind,
            run.state,
            run.learner,
            f"{from_micros(run.started_at):%Y-%m-%d %H:%M}",
            f"{run.cost.wall_s:,.1f}" if run.cost else "-",
            f"{name} {figure_text(metric)}" if metric else run.says,
        )
    out.print(table)


def show(out: Console, found: RunComparison, key: str) -> None:
    """Print the settings that differ, the metrics, the paired differences, and a conclusion for the metric `key`."""
    if found.differs:
        out.print(f"Differences ({found.same} more are equal):")
        out.print(_rows(found.runs, [(row.what, [_text(value) for value in row.values]) for row in found.differs]))
    else:
        out.print("No differences in code, data or settings.")
    if found.cost:
        out.print("\nCost:")
        out.print(_rows(found.runs, [(row.what, [_text(value) for value in row.values]) for row in found.cost]))
    shown = [row for row in found.metrics if not row.name.startswith(_VS_BASELINE)]
    if shown:
        more = len(found.metrics) - len(shown)
        out.print(f"\nMetrics (95%){f', --json has {more} more' if more else ''}:")
        out.print(_rows(found.runs, [(row.name, [figure_text(value) for value in row.values]) for row in shown]))
    if found.paired:
        out.print("\nPaired differences on the same users:")
        out.print(_paired(found))
        for sentence in verdicts(found, key):
            out.print(sentence)
    for sentence in found.unpaired:
        out.print(sentence)


def verdicts(found: RunComparison, key: str) -> list[str]:
    """A sentence per run: whether it is significantly better or worse than the first run by the metric `key`."""
    sentences = []
    for pair in found.paired:
        if pair.measure == key:
            better = "better" if pair.difference.value > 0 else "worse"
            relation = f"is significantly {better} than" if pair.sure else "is not significantly different from"
            sentences.append(f"by {key}, {pair.other} {relation} {pair.one} ({pair.n_users:,} users)")
    return sentences


def _rows(runs: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> Table:
    table = Table("", *runs, box=None, pad_edge=False)
    for name, values in rows:
        table.add_row(name, *values)
    return table


def _paired(found: RunComparison) -> Table:
    table = Table("", "n", "metric", "difference (95%)", "p", "p (Holm)", box=None, pad_edge=False)
    for pair in sorted(found.paired, key=lambda pair: rank(pair.measure)):
        difference = pair.difference
        table.add_row(
            f"{pair.other} - {pair.one}",
            f"{pair.n_users:,}",
            pair.measure,
            f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})",
            f"{pair.p:.4f}",
            f"{pair.p_holm:.4f}",
        )
    return table


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 9999 else str(value)
