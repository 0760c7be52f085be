"""Families of models that predict from a row: what trains, evaluates and compares them; loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.loop.families.tabular.row_evaluation import prepare_evaluation as prepare_evaluation
    from tidemill.loop.families.tabular.row_training import RowTraining as RowTraining
    from tidemill.loop.families.tabular.row_training import compare as compare
    from tidemill.loop.families.tabular.row_training import measured as measured
    from tidemill.loop.families.tabular.row_training import retrain as retrain
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "row_evaluation": "prepare_evaluation",
            "row_training": "RowTraining compare measured retrain",
        },
    )
