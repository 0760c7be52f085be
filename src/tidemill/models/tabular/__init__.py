"""Tabular models as data: encoders, members and a weighted sum, evaluated without DataFrames and pickles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.models.tabular.examples import Examples as Examples
    from tidemill.models.tabular.learn_plan import LearnPlan as LearnPlan
    from tidemill.models.tabular.recipe import TabularRecipe as TabularRecipe
    from tidemill.models.tabular.row_model import RowModel as RowModel
    from tidemill.models.tabular.tabular_bundle import golden_tolerance as golden_tolerance
    from tidemill.models.tabular.tabular_bundle import open_tabular as open_tabular
    from tidemill.models.tabular.tabular_bundle import parity as parity
    from tidemill.models.tabular.tabular_bundle import read_golden as read_golden
    from tidemill.models.tabular.tabular_bundle import rows_of as rows_of
    from tidemill.models.tabular.tabular_bundle import write_tabular as write_tabular
    from tidemill.models.tabular.tabular_model import TabularModel as TabularModel
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "examples": "Examples",
            "learn_plan": "LearnPlan",
            "recipe": "TabularRecipe",
            "row_model": "RowModel",
            "tabular_bundle": "golden_tolerance open_tabular parity read_golden rows_of write_tabular",
            "tabular_model": "TabularModel",
        },
    )
