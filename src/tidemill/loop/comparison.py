"""Runs of a project compared: read from the ledger, with the figures of users that they kept."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.loop.house import House
from tidemill.loop.tracking import figures_of
from tidemill.training import Comparison, compare


def compare_runs(house: House, names: Sequence[str]) -> Comparison:
    """Runs beside each other, the first one being what the others are held against.

    Raises `UnknownName` for a run that is not there and `UsageError` for fewer than two.
    """
    runs = [house.runs.read(name) for name in names]
    return compare(runs, {run.name: figures_of(house, run) for run in runs})
