"""The JSON of a run in the ledger: plain values, every number finite, no personal data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from tidemill.core.errors import FigureRefused, UsageError
from tidemill.core.ledger.ledger import redact_surrogates
from tidemill.core.record_format import Record
from tidemill.core.records.quality import Metric
from tidemill.core.redaction import HIDDEN, names_secret, redact


def text_of(record: Record | Sequence[Record]) -> str:
    """A record, or several as a list, as JSON text; surrogates are redacted, NaN and infinities refused."""
    return msgspec.json.encode(_checked(msgspec.to_builtins(record), "")).decode()


def finite(name: str, value: Any) -> float:
    """A metric as a float; `FigureRefused` where it is not a finite number.

    >>> finite("loss", 3)
    3.0
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise FigureRefused(
            f"the metric `{name}` is {value!r}, which is not a number", tip="pass one number"
        ) from error
    if not math.isfinite(number):
        raise FigureRefused(
            f"the metric `{name}` is {number}, which cannot be plotted or compared",
            tip="leave the metric out where it is undefined, and look for a division by zero where it is not",
        )
    return number


def metric_of(name: str, value: Any) -> Metric:
    """A metric with its interval; for a plain number both ends are the number itself."""
    if isinstance(value, Metric):
        ends = (("", value.value), (" (low)", value.low), (" (high)", value.high))
        at, low, high = (finite(name + end, part) for end, part in ends)
        return Metric(value=at, low=low, high=high)
    number = finite(name, value)
    return Metric(value=number, low=number, high=number)


def plain(value: Any, name: str = "parameters") -> Any:
    """Settings as JSON values: numbers, texts, lists and dicts of them; a number that is not finite becomes text.
    Passwords and keys are hidden.

    >>> plain({"C": float("inf"), "parts": ("als", 3)})
    {'C': 'inf', 'parts': ['als', 3]}

    Raises `UsageError` for anything else, with its path.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy scalar
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return HIDDEN if names_secret(name) else redact_surrogates(redact(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value), name)
    if isinstance(value, Mapping):
        return {redact_surrogates(str(key)): plain(found, f"{name}.{key}") for key, found in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [plain(found, f"{name}[{i}]") for i, found in enumerate(items)]
    raise UsageError(
        f"{name} is a {type(value).__name__}, which a run cannot store",
        tip="use numbers, texts, and lists or dicts of them",
    )


def _checked(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return HIDDEN if names_secret(name) else redact_surrogates(redact(value))
    if isinstance(value, float):
        return finite(name, value)
    if isinstance(value, Mapping):
        return {redact_surrogates(str(key)): _checked(found, str(key)) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(found, name) for found in value]
    return value
