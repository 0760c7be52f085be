"""Whether to believe what arrived: contracts of rows, expectations of increments, verdicts.

Upstream are the rows that a source read (held against their contract) and the rows that an increment is about to bring
into a table (held against what is expected of them). A verdict lists every failure and decides nothing: the run does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.checks.contract import split
    from tidemill.checks.expectation import (
        AnyExpectation,
        Expectation,
        between,
        defaults,
        fresh,
        like_history,
        not_null,
        refused_share,
        repeated_share,
    )
    from tidemill.checks.fit import validate
    from tidemill.checks.verdict import evaluate

__all__ = [
    "AnyExpectation",
    "Expectation",
    "between",
    "defaults",
    "evaluate",
    "fresh",
    "like_history",
    "not_null",
    "refused_share",
    "repeated_share",
    "split",
    "validate",
]

_HOMES = {
    "AnyExpectation": "expectation",
    "Expectation": "expectation",
    "between": "expectation",
    "defaults": "expectation",
    "evaluate": "verdict",
    "fresh": "expectation",
    "like_history": "expectation",
    "not_null": "expectation",
    "refused_share": "expectation",
    "repeated_share": "expectation",
    "split": "contract",
    "validate": "fit",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
