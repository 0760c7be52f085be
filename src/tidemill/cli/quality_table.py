"""Quality of a release as terminal tables, whichever kind of model it is."""

from __future__ import annotations

from rich.console import Console

from tidemill.cli.assessment_table import show_assessment
from tidemill.cli.evaluation_table import show_summary
from tidemill.core.records.release import Card


def show_quality(out: Console, card: Card) -> None:
    """Print what the test of the release on `card` has found, if it was evaluated."""
    if card.assessment is not None:
        show_assessment(out, card.assessment)
    if card.evaluation is not None:
        show_summary(out, card.evaluation)
