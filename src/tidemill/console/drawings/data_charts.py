"""Charts of a table: rows of its increments, and its number of rows by version."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.console.drawings.time_charts import TimeBin, size_line, stacked_bars
from tidemill.console.drawings.vega_lite import VegaChart
from tidemill.console.state.table_state import Arrivals, VersionRows
from tidemill.console.state.time_bins import LENGTHS


def arrival_chart(found: Arrivals) -> VegaChart:
    """Rows of the increments of each interval, by what became of them. At least one interval."""
    length = LENGTHS[found.length]
    bins = [
        TimeBin(
            one.start,
            one.end,
            {"Added": one.added, "Repeated": one.repeated, "Refused": one.refused, "Held": one.held},
        )
        for one in found.bins
    ]
    return stacked_bars(
        f"Rows per {length}",
        f"Rows of the increments of each {length}: added, repeated, refused and held",
        f"Rows per {length}",
        bins,
        ("Added", "Repeated", "Refused", "Held"),
    )


def version_chart(versions: Sequence[VersionRows]) -> VegaChart:
    """The number of rows by version. At least one version with known rows."""
    points = [(one.as_of, float(one.rows), f"{one.version}") for one in versions if one.rows is not None]
    return size_line("Rows", "Number of rows of each version of the table", "Rows", points)
