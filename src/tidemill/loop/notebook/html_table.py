"""HTML tables for a notebook: texts are escaped, numbers are right-aligned, nothing external is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_CELL = "padding:3px 10px;border-bottom:1px solid #eaeef2;background:#fff;color:#1f2328;vertical-align:top"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under their headings; `None` is an empty cell.

    >>> html_table(["item"], [["<b>"]]).count("&lt;b&gt;")
    1
    """
    rows = list(rows)
    sides = ["right" if rows and _is_number(value) else "left" for value in (rows[0] if rows else heads)]
    head = "".join(
        f'<th style="{_CELL};text-align:{side};font-weight:600">{escape(name)}</th>'
        for name, side in zip(heads, sides, strict=True)
    )
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return (
        '<table style="border-collapse:collapse;font:13px/1.45 system-ui,sans-serif">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def folded(summary: str, inside: str) -> str:
    """Collapsible content in a scrollable box."""
    return (
        f'<details style="margin:4px 0"><summary style="cursor:pointer">{escape(summary)}</summary>'
        '<div style="max-height:320px;overflow:auto;border:1px solid #d0d7de;border-radius:6px">'
        f"{inside}</div></details>"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    words = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    if isinstance(value, float):
        words = f"{value:.4f}"
    return f'<td style="{_CELL};text-align:{"right" if _is_number(value) else "left"}">{escape(words)}</td>'
