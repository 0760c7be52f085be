"""`tidemill train`: learn a model, measure it, make a release of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.context import CommandContext, DayParam, with_context
from tidemill.cli.progress_line import progress_line
from tidemill.core.clock import as_of, to_micros
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.loop.training.train import train
from tidemill.loop.training.train_recommender import TrainingResult
from tidemill.training.search.search_budget import DEFAULT_BUDGET, SearchBudget

#: Measures in the order in which they are read.
_MEASURES = ("hit_rate", "recall", "ndcg")


@click.command("train")
@click.argument("model")
@click.option(
    "--test-from", type=DayParam(), metavar="DAY", help="First day of the test; default: after 90% of the events."
)
@click.option(
    "--rules-only", is_flag=True, help="A new release of the last bundle with the rules of mill.py as they are."
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=DEFAULT_BUDGET.trials,
    show_default=True,
    help="Trials of a searched range.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Deadline of choosing settings, held from outside; default: none, or that of tm.auto().",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=DEFAULT_BUDGET.processes,
    show_default=True,
    help="Trials at once.",
)
@with_context
def command(
    ask: CommandContext,
    model: str,
    test_from: date | None,
    rules_only: bool,
    trials: int,
    minutes: float | None,
    processes: int,
) -> None:
    """Learn MODEL from what is published, measure it beside popularity, and leave a release to promote.

    Settings given as tm.search(…) or tm.grid(…), and those left out, are chosen on days before the test. A choice that
    was killed goes on where it was when the same command is typed again.
    """

    def progress(what: str, details: dict[str, Any]) -> None:
        ask.err.print(progress_line(what, details), style="dim", markup=False)

    at = to_micros(as_of(test_from)) - 86_400_000_000 if test_from else None
    effort = SearchBudget(trials=trials, minutes=minutes, processes=processes)
    learned = train(ask.stores, ask.graph, model, at=at, rules_only=rules_only, effort=effort, progress=progress)
    ask.result(
        {"release": learned.release.name, "anew": learned.anew, "card": learned.card, "notes": learned.notes},
        lambda out: show(out, learned),
    )


def show(out: Console, learned: TrainingResult, *, live: bool = False) -> None:
    """The release, how good it is, and unless it is `live`, how to make it so."""
    if not learned.anew:
        out.print("learned before from the same rows with the same settings: its bundle was taken")
    for note in learned.notes:
        out.print(note)
    if learned.card.assessment:
        show_assessment(out, learned.card.assessment)
    if learned.card.evaluation:
        out.print(quality(learned.card.evaluation))
        for sentence in (learned.card.evaluation.worst, *learned.card.evaluation.warnings):
            if sentence:
                out.print(sentence)
    if not live:
        out.print(f"{learned.release.name} is ready   make it live: tidemill promote {learned.release.name}")


def quality(evaluation: Evaluation) -> Table:
    """The model beside its baseline, by slice of users, with paired 95% intervals of the difference."""
    names = [name for name in _ordered(evaluation) if name]
    table = Table(
        "users", "n", "measure", evaluation.model, evaluation.baseline, "difference (95%)", box=None, pad_edge=False
    )
    for part in evaluation.slices:
        for i, name in enumerate(names):
            table.add_row(
                part.users if not i else "",
                f"{part.n_users:,}" if not i else "",
                name,
                _figure(part.model[name]),
                _figure(part.baseline[name]),
                _figure(part.difference[name], signed=True),
            )
    return table


def _ordered(evaluation: Evaluation) -> list[str]:
    found = list(evaluation.slices[0].model) if evaluation.slices else []
    return sorted(found, key=lambda name: next((i for i, m in enumerate(_MEASURES) if name.startswith(m)), 9))


def _figure(metric: Metric, *, signed: bool = False) -> str:
    value = f"{metric.value:+.4f}" if signed else f"{metric.value:.4f}"
    return f"{value} ({metric.low:+.4f} to {metric.high:+.4f})" if signed else value
