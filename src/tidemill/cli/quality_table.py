"""Quality of a release as terminal tables, whichever kind of model it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.evaluation_table import show_summary
from tidemill.core.records.release import Card
from tidemill.core.records.runs import Trial


def show_quality(out: Console, card: Card) -> None:
    """Print what the test of the release on `card` has found, if it was evaluated."""
    if card.assessment is not None:
        show_assessment(out, card.assessment)
    if card.evaluation is not None:
        show_summary(out, card.evaluation)


def learners(verdicts: Sequence[Trial]) -> Table:
    """A table of the learners of an automatic choice: the value on validation data, the CPU time, the verdict."""
    table = Table("learner", "validation", "CPU s", "verdict", box=None, pad_edge=False)
    for one in verdicts:
        value = "-" if one.value is None else f"{one.value:.4f}"
        table.add_row(str(one.parameters.get("learner", "")), value, f"{one.cpu_s:.1f}", one.says)
    return table
