"""A learn plan: everything needed to fit a model again, except the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tidemill.models.tabular.examples import Examples

if TYPE_CHECKING:
    from tidemill.models.tabular.row_model import RowModel


class LearnPlan(Protocol):
    """A complete training plan: the same rows and seed give the same model, bit for bit."""

    @property
    def name(self) -> str:
        """Name for display: `lightgbm`, `additive`, `stack`, or the class of an estimator."""
        ...

    def settings(self) -> dict[str, Any]:
        """Its settings by name, as plain values."""
        ...

    def fit(self, examples: Examples, *, seed: int = 0) -> RowModel:
        """The model trained on these rows."""
        ...
