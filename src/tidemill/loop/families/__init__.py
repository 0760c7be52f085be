"""Model families: recommenders, models that predict from a row, and the protocol that both fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.loop.families.model_family import ModelFamily as ModelFamily
    from tidemill.loop.families.tabular.row_family import RowFamily as RowFamily
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__, {"model_family": "ModelFamily", "tabular.row_family": "RowFamily"}
    )
