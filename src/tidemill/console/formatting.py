"""Formatting of numbers, times, metric names and rules for the pages."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from markupsafe import Markup

from tidemill.core.clock import from_micros
from tidemill.core.formatting import count
from tidemill.core.formatting import day as day
from tidemill.core.formatting import through as through
from tidemill.core.records.assessment import VERSUS_CHAMPION
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import Rule

_STEPS = (
    (60, "s", 1),
    (3600, "min", 60),
    (48 * 3600, "h", 3600),
    (60 * 86400, "days", 86400),
    (730 * 86400, "months", 2629800),
)
_MINUS = "\u2212"
#: Words of metric names with a special spelling.
_WORDS = {
    "ndcg": "NDCG", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "mrr": "MRR", "r2": "R\u00b2", "brier": "Brier score",
    "poisson": "Poisson", "cpu": "CPU",
}  # fmt: skip

#: A number with its noun.
counted = count


def age(at: int | None, now: int) -> str:
    """The time since an instant, both in microseconds; future instants are shown as dates.

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


def instant(at: int) -> str:
    """A day and a time to the second, in UTC."""
    moment: datetime = from_micros(at)
    return f"{day(at)}, {moment:%H:%M:%S} UTC"


def minute(at: int) -> str:
    """A day and a time to the minute, in UTC; the day alone at midnight.

    >>> minute(0), minute(3_660_000_000)
    ('1 Jan 1970', '1 Jan 1970, 01:01')
    """
    return day(at) if at % 86_400_000_000 == 0 else f"{day(at)}, {from_micros(at):%H:%M}"


def milliseconds(microseconds: float | None) -> str:
    """A latency in milliseconds.

    >>> milliseconds(412.0), milliseconds(13_400), milliseconds(2_500_000), milliseconds(None)
    ('0.41 ms', '13 ms', '2,500 ms', '–')
    """
    if microseconds is None:
        return "\u2013"
    found = microseconds / 1000
    return f"{found:.2g} ms" if found < 10 else f"{found:,.0f} ms"


def number(value: float) -> str:
    """A count with thousands separators.

    >>> number(88467)
    '88,467'
    """
    return f"{value:,.0f}"


def figure(value: float, *, signed: bool = False) -> str:
    """A metric with three decimals; fewer for large values, as for errors in minutes or dollars.

    >>> figure(0.03141, signed=True), figure(-0.002, signed=True), figure(0.5), figure(13.9448), figure(-51234.4)
    ('+0.031', '−0.002', '0.500', '13.94', '−51,234')
    """
    size = abs(value)
    text = f"{size:.{3 if size < 9.9995 else 2 if size < 99.995 else 1 if size < 999.95 else 0}f}"
    text = f"{size:,.0f}" if size >= 999.95 else text
    some = text.strip("0.") != ""
    if value < 0 and some:
        return _MINUS + text
    return f"+{text}" if signed and some else text


def spelled(n: int) -> str:
    """A number at the beginning of a sentence.

    >>> spelled(1), spelled(12)
    ('One', '12')
    """
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    return words[n] if n < len(words) else f"{n:,}"


def took(seconds: float) -> str:
    """A duration in seconds, in the unit that reads best.

    >>> took(0.018), took(0.31), took(41.2), took(200), took(7500), took(400_000)
    ('18 ms', '0.3 s', '41 s', '3.3 min', '2.1 h', '4.6 days')
    """
    if 0 < seconds < 0.095:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for limit, unit, size in ((3570, "min", 60), (171_000, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def span(microseconds: int) -> str:
    """A duration in the largest unit that divides it, else rounded.

    >>> span(90 * 86_400_000_000), span(5_400_000_000), span(-3_600_000_000), span(200_000_000_000)
    ('90 days', '90 minutes', '1 hour', '2 days')
    """
    seconds = abs(microseconds) / 1_000_000
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size and (seconds % size == 0 or seconds >= 2 * size):
            return counted(round(seconds / size), unit)
    return counted(round(seconds), "second")


def chance(p: float | None) -> str:
    """A p-value.

    >>> chance(0.0), chance(0.0163), chance(0.4), chance(None)
    ('below 0.001', '0.016', '0.40', '–')
    """
    if p is None:
        return "\u2013"
    return "below 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def size(n_bytes: int) -> str:
    """An amount of memory.

    >>> size(512), size(1_500_000), size(3_200_000_000)
    ('512 B', '1.5 MB', '3.2 GB')
    """
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n_bytes >= limit:
            return f"{n_bytes / limit:.1f} {unit}"
    return f"{n_bytes} B"


def measure(name: str) -> str:
    """The display name of a metric.

    >>> measure("hit_rate@10"), measure("valid.log_loss"), measure("hit_rate@10[warm]")
    ('Hit rate at 10', 'Valid log loss', 'Hit rate at 10, warm users')
    >>> measure("difference ndcg@10[all]")
    'Difference from popularity, NDCG at 10, all users'
    >>> measure("brier"), measure("macro_auc"), measure("difference log_loss"), measure("vs champion mae")
    ('Brier score', 'Macro AUC', 'Difference from the baseline, log loss', 'Difference from the champion, MAE')
    """
    bare, _, users = name.removesuffix("]").partition("[") if name.endswith("]") else (name, "", "")
    is_difference, bare = bare.startswith("difference "), bare.removeprefix("difference ")
    champion = next((prefix for prefix in VERSUS_CHAMPION if bare.startswith(prefix)), "")
    bare = bare.removeprefix(champion)
    what, at, k = bare.partition("@")
    text = " ".join(_WORDS.get(word, word) for word in re.split("[_. ]", what)) + (f" at {k}" if at else "")
    if is_difference:
        # Ranking metrics have a cutoff k or a group of users, and are compared with popularity.
        text = f"difference from {'popularity' if at or users else 'the baseline'}, {text}"
    if champion:
        text = f"difference from the champion, {text}"
    if users:
        text += f", {users} users" if users in ("all", "warm", "cold") else f", {users}"
    return text[:1].upper() + text[1:]


def lower(name: str) -> str:
    """The display name of a metric inside a sentence.

    >>> lower("Hit rate at 10"), lower("NDCG at 10")
    ('hit rate at 10', 'NDCG at 10')
    """
    kept = name[:2].isupper() or name.startswith(("R\u00b2", "Brier", "Poisson"))
    return name if kept else name[:1].lower() + name[1:]


def spoken(text: str, measured: str) -> str:
    """A sentence with the metric's key replaced by its display name.

    >>> spoken("Worst where a is b: log_loss 0.59", "log_loss")
    'Worst where a is b: log loss 0.59'
    """
    return re.sub(rf"\b{re.escape(measured)}\b", lambda _: lower(measure(measured)), text) if measured else text


def share(value: float) -> str:
    """A share as a percentage.

    >>> share(0.0712), share(0.25), share(1)
    ('7.1%', '25%', '100%')
    """
    percent = 100 * value
    return f"{percent:.0f}%" if abs(percent - round(percent)) < 0.05 else f"{percent:.1f}%"


def interval(metric: Metric, *, signed: bool = False) -> str:
    """A metric with its 95% interval, or alone if it has none.

    >>> interval(Metric(value=0.5, low=0.4, high=0.6)), interval(Metric(value=0.5, low=0.5, high=0.5))
    ('0.500 [0.400, 0.600]', '0.500')
    """
    if metric.low == metric.high:
        return figure(metric.value, signed=signed)
    low, high = figure(metric.low, signed=signed), figure(metric.high, signed=signed)
    return f"{figure(metric.value, signed=signed)} [{low}, {high}]"


#: Positional arguments, and arguments with another name in mill.py.
_PLAIN = {("nearest", "n"), ("eligible", "column")}
_CALLED = {("diverse", "column"): "by"}
#: Arguments that the release adds to a rule: the source of its facts.
_ADDED = {"view", "reads"}


def rule(given: Rule) -> str:
    """A rule of a slate as written in mill.py.

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
    """A hyperparameter as text."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {parameter(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(parameter(inner) for inner in value)
    return str(value)


def headings(page: Markup) -> list[tuple[str, Markup]]:
    """The second-level headings of a rendered page that can be linked to: id and content.

    >>> headings(Markup('<h2 id="a">A &amp; b</h2><h2>c</h2>'))
    [('a', Markup('A &amp; b'))]
    """
    return [(found[1], Markup(found[2])) for found in re.finditer(r'<h2 id="([\w-]+)">(.*?)</h2>', page)]
