"""Tabular models as data: encoders, members and a weighted sum, answered without a DataFrame and without a pickle."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.models.tabular.bundle import open_tabular, parity, read_golden, rows_of, write_tabular
    from tidemill.models.tabular.examples import Examples
    from tidemill.models.tabular.model import TabularModel
    from tidemill.models.tabular.plan import Plan
    from tidemill.models.tabular.recipe import Recipe

_HOME = {
    "Examples": "examples",
    "Plan": "plan",
    "Recipe": "recipe",
    "TabularModel": "model",
    "open_tabular": "bundle",
    "parity": "bundle",
    "read_golden": "bundle",
    "rows_of": "bundle",
    "write_tabular": "bundle",
}

__all__ = [
    "Examples",
    "Plan",
    "Recipe",
    "TabularModel",
    "open_tabular",
    "parity",
    "read_golden",
    "rows_of",
    "write_tabular",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
