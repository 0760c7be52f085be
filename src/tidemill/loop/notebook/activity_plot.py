"""Activity plot: the events of a model over time, as a bar chart and a table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import polars as pl

from tidemill.loop.notebook.html_table import folded, html_table
from tidemill.models import Interactions

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 900, 190, 56, 22, 10
#: Maximum number of days, or months, with one bar each.
_DAYS, _MONTHS = 130, 250
#: Span -> length of the date prefix that names it.
_LETTERS = {"day": 10, "month": 7, "year": 4}


@dataclass(frozen=True, eq=False)
class Activity:
    """Events, users and items per time span; `frame` has a row for each span, including empty ones."""

    frame: pl.DataFrame
    #: `day`, `month` or `year`.
    span: str

    @classmethod
    def from_interactions(cls, events: Interactions) -> Activity:
        """By day, month or year, whichever gives a readable plot."""
        rows = pl.DataFrame({"at": events.time, "user": events.user, "item": events.item})
        rows = rows.with_columns(pl.from_epoch("at", time_unit="us").dt.date())
        days = (int(events.time.max()) - int(events.time.min())) // 86_400_000_000 + 1
        span, every = ("day", "1d") if days <= _DAYS else ("month", "1mo") if days <= 30 * _MONTHS else ("year", "1y")
        counted = (
            rows.group_by(pl.col("at").dt.truncate(every).alias(span))
            .agg(pl.len().alias("events"), pl.n_unique("user").alias("users"), pl.n_unique("item").alias("items"))
            .sort(span)
        )
        return cls(counted.upsample(span, every=every).with_columns(pl.exclude(span).fill_null(0)), span)

    def _repr_html_(self) -> str:
        counts = self.frame["events"].to_numpy()
        names = [str(value)[: _LETTERS[self.span]] for value in self.frame[self.span].to_list()]
        most, wide = max(int(counts.max()), 1), (WIDTH - LEFT) / len(counts)
        tall = HEIGHT - BELOW - ABOVE
        bars = "".join(
            f'<rect x="{LEFT + place * wide:.1f}" y="{HEIGHT - BELOW - tall * count / most:.1f}" '
            f'width="{max(wide - 1, 0.6):.1f}" height="{tall * count / most:.1f}" fill="#0072B2">'
            f"<title>{escape(names[place])}: {count:,}</title></rect>"
            for place, count in enumerate(counts.tolist())
        )
        marks = "".join(
            f'<text x="{LEFT - 6}" y="{HEIGHT - BELOW + 4 - tall * value / most:.0f}" text-anchor="end">{value:,}'
            "</text>"
            for value in sorted({0, most // 2, most})
        )
        shown = np.linspace(0, len(names) - 1, min(7, len(names))).astype(int).tolist()
        below = "".join(
            f'<text x="{LEFT + (place + 0.5) * wide:.0f}" y="{HEIGHT - 6}" '
            f'text-anchor="{"end" if place == len(names) - 1 > 0 else "middle"}">{escape(names[place])}</text>'
            for place in shown
        )
        table = html_table(
            self.frame.columns, [(name, *row[1:]) for name, row in zip(names, self.frame.rows(), strict=True)]
        )
        return (
            f'<div style="background:#fff;color:#1f2328;font:13px/1.45 system-ui,sans-serif;max-width:{WIDTH}px;'
            f'padding:8px 12px"><p style="margin:4px 0">Events per {self.span}</p>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Events per {self.span}" '
            f'style="width:100%;font-size:11px" fill="#57606a">{bars}{marks}{below}</svg>'
            f"{folded(f'As a table ({len(names):,} rows)', table)}</div>"
        )
