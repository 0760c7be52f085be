"""`tidemill compare`: what was tried, and whether one run is better than another."""

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
from tidemill.core.records.runs import Run
from tidemill.loop.notebook.compare_runs import compare_runs, figure_text
from tidemill.training import RunComparison

#: Figures that hold a model against its own baseline; of use for one run, and too many for several.
_BESIDE = "difference "


@click.command("compare")
@click.argument("what", nargs=-1, metavar="[MODEL [NUMBER]...]")
@click.option("-n", "--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many to list.")
@click.option("--refreshes", is_flag=True, help="List refreshes too, which learned and measured nothing.")
@with_context
def command(ask: CommandContext, what: tuple[str, ...], last: int, refreshes: bool) -> None:
    """List the runs, newest first, or compare some: `compare for_you 3 5`, `compare for_you#3 similar#1`.

    The first run is what the others are held against. Where two were measured on the same users, the difference comes
    with its 95% interval and the p of a paired test, corrected for all that is looked at.
    """
    model, names = named(what)
    if names:
        found = compare_runs(ask.stores, names)
        runs = [ask.stores.runs.read(name) for name in names]
        key = key_figure(runs, [pair.measure for pair in found.paired])
        ask.result(found, lambda out: show(out, found, key))
        return
    every = ask.stores.runs.all(model)
    told = [run for run in every if refreshes or run.kind != "refresh" or run.state != "finished"]
    ask.result(told[:last], lambda out: listed(out, told[:last], len(every) - len(told)))


def named(what: Sequence[str]) -> tuple[str | None, list[str]]:
    """The model to list, or the runs to compare: a model's name, then its numbers, or whole names.

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
                raise UsageError(f"{word} is the number of which model's run?", tip=f"tidemill compare MODEL {word}")
            names.append(f"{model}#{word}")
        elif names or model is not None:
            raise UsageError(f"a run's number is missing after {word!r}", tip=f"write {word}#1")
        else:
            model = word
    if len(names) == 1:
        raise UsageError(f"{names[0]} needs another run beside it", tip=f"tidemill compare {model} lists its runs")
    return (None, names) if names else (model, [])


def listed(out: Console, runs: Sequence[Run], refreshes: int = 0) -> None:
    """The runs, one a line, with their first figure; and how many refreshes are left out."""
    if refreshes:
        out.print(f"{refreshes:,} refresh{'' if refreshes == 1 else 'es'} not listed; see them with: --refreshes")
    if not runs:
        out.print("no run yet   begin with: tidemill train MODEL")
        return
    table = Table("run", "kind", "state", "learner", "began", "seconds", "first figure", box=None, pad_edge=False)
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
    """What differs, the figures side by side, the paired differences, and what they say by the figure `key`."""
    if found.differs:
        out.print(f"what differs ({found.same} more are the same):")
        out.print(_rows(found.runs, [(row.what, [_text(value) for value in row.values]) for row in found.differs]))
    else:
        out.print("nothing differs in what they were given")
    if found.cost:
        out.print("\nwhat they took:")
        out.print(_rows(found.runs, [(row.what, [_text(value) for value in row.values]) for row in found.cost]))
    shown = [row for row in found.metrics if not row.name.startswith(_BESIDE)]
    if shown:
        more = len(found.metrics) - len(shown)
        out.print(f"\nfigures (95%){f', --json has {more} more' if more else ''}:")
        out.print(_rows(found.runs, [(row.name, [figure_text(value) for value in row.values]) for row in shown]))
    if found.paired:
        out.print("\non the same users:")
        out.print(_paired(found))
        for sentence in verdicts(found, key):
            out.print(sentence)
    for sentence in found.unpaired:
        out.print(sentence)


def verdicts(found: RunComparison, key: str) -> list[str]:
    """A sentence for each run about its difference to the first one by the figure `key`, where they were paired."""
    said = []
    for pair in found.paired:
        if pair.measure == key:
            better = "better" if pair.difference.value > 0 else "worse"
            how = f"is {better} than" if pair.sure else "cannot be told from"
            said.append(f"by {key}, {pair.other} {how} {pair.one} ({pair.n_users:,} users)")
    return said


def _rows(runs: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> Table:
    table = Table("", *runs, box=None, pad_edge=False)
    for name, values in rows:
        table.add_row(name, *values)
    return table


def _paired(found: RunComparison) -> Table:
    table = Table("", "n", "figure", "difference (95%)", "p", "p (Holm)", box=None, pad_edge=False)
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
