"""Numbers, times and ledger acts as people read them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from tidemill.core.clock import from_micros
from tidemill.core.records import Metric, Rule

_STEPS = (
    (60, "s", 1),
    (3600, "min", 60),
    (48 * 3600, "h", 3600),
    (60 * 86400, "days", 86400),
    (730 * 86400, "months", 2629800),
)
_MINUS = "\u2212"


def age(at: int | None, now: int) -> str:
    """How long ago an instant was, in microseconds both; the future is given as a date.

    >>> age(0, 90_000_000), age(0, 3_000_000), age(None, 5), age(0, 72 * 3_600_000_000)
    ('1 min ago', 'just now', 'never', '3 days ago')
    """
    if at is None:
        return "never"
    seconds = (now - at) // 1_000_000
    if seconds < -60:
        return day(at)
    if seconds < 10:
        return "just now"
    for limit, unit, size in _STEPS:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{seconds // 31_557_600} years ago"


def day(at: int | date) -> str:
    """A calendar day, in UTC.

    >>> day(date(2018, 9, 9)), day(0)
    ('9 Sep 2018', '1 Jan 1970')
    """
    shown = at if isinstance(at, date) else from_micros(at).date()
    return f"{shown.day} {shown:%b} {shown.year}"


def instant(at: int) -> str:
    """A day and a time to the second, in UTC."""
    moment: datetime = from_micros(at)
    return f"{day(at)}, {moment:%H:%M:%S} UTC"


def through(as_of: int) -> str:
    """The last day that an as-of includes: it is the first instant after it.

    >>> through(86_400_000_000)
    '1 Jan 1970'
    """
    return day(as_of - 1)


def number(value: float) -> str:
    """A count with its thousands parted.

    >>> number(88467)
    '88,467'
    """
    return f"{value:,.0f}"


def figure(value: float, *, signed: bool = False) -> str:
    """A figure of quality, three digits after the point.

    >>> figure(0.03141, signed=True), figure(-0.002, signed=True), figure(0.5)
    ('+0.031', '−0.002', '0.500')
    """
    text = f"{abs(value):.3f}"
    if value < 0 and float(text):
        return _MINUS + text
    return f"+{text}" if signed and float(text) else text


def share(value: float) -> str:
    """A share as a percentage.

    >>> share(0.0712), share(0.25), share(1)
    ('7.1%', '25%', '100%')
    """
    percent = 100 * value
    return f"{percent:.0f}%" if abs(percent - round(percent)) < 0.05 else f"{percent:.1f}%"


def interval(metric: Metric, *, signed: bool = False) -> str:
    """A figure with its 95% interval."""
    low, high = figure(metric.low, signed=signed), figure(metric.high, signed=signed)
    return f"{figure(metric.value, signed=signed)} [{low}, {high}]"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "table"), counted(2, "table"), counted(0, "day")
    ('1 table', '2 tables', '0 days')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


#: Arguments that are written without their name, and those that have another name in mill.py.
_PLAIN = {("nearest", "n"), ("eligible", "column")}
_CALLED = {("diverse", "column"): "by"}
#: What the release adds to a rule: where its facts come from.
_ADDED = {"view", "reads"}


def rule(given: Rule) -> str:
    """A rule of a slate as it is written in mill.py.

    >>> rule(Rule(name="trending", args={"days": 7, "n": 100}))
    'trending(days=7, n=100)'
    >>> rule(Rule(name="eligible", args={"column": "in_stock", "missing": True, "view": "facts"}))
    'eligible("in_stock", missing=True)'
    """
    if given.name == "own":
        return f"{given.args.get('function', 'own')}(candidates)"
    return (
        f"{given.name}({', '.join(_argument(given.name, *one) for one in given.args.items() if one[0] not in _ADDED)})"
    )


def _argument(rule_name: str, name: str, value: Any) -> str:
    plain = (rule_name, name) in _PLAIN
    return _value(value) if plain else f"{_CALLED.get((rule_name, name), name)}={_value(value)}"


def _value(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def parameter(value: Any) -> str:
    """A learner's setting."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {parameter(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(parameter(inner) for inner in value)
    return str(value)
