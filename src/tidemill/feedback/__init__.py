"""What came of it: the prediction log and the outcomes as tables, and what was expected against what happened.

Upstream: `serving`, which hands each answer to the log before it leaves, and `lake`, which keeps the tables.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.feedback.actual import Actual, expected_against_actual
    from tidemill.feedback.log import OUTCOMES, PREDICTIONS, SegmentLog
    from tidemill.feedback.tables import outcome_schema, prediction_schema
    from tidemill.feedback.writer import LogWriter, Written

_HOMES = {
    "Actual": "actual",
    "LogWriter": "writer",
    "OUTCOMES": "log",
    "PREDICTIONS": "log",
    "SegmentLog": "log",
    "Written": "writer",
    "expected_against_actual": "actual",
    "outcome_schema": "tables",
    "prediction_schema": "tables",
}
__all__ = [
    "OUTCOMES",
    "PREDICTIONS",
    "Actual",
    "LogWriter",
    "SegmentLog",
    "Written",
    "expected_against_actual",
    "outcome_schema",
    "prediction_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
