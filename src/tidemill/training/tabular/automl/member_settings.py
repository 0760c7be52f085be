"""Settings (hyper-parameters) of each kind of member: plain values that convert to and from JSON, for refits."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.models.tabular.recipe import Member

F64 = NDArray[np.float64]
#: Files of a member by name.
Parts = dict[str, Any]


class _MemberSettings(msgspec.Struct, frozen=True, kw_only=True, tag_field="learner"):
    name: str
    #: The best number of boosting rounds in each fold; empty while undecided.
    rounds: tuple[int, ...] = ()
    #: Trained on the square root of a non-negative target; predictions are squared.
    root: bool = False


class Curves(_MemberSettings, frozen=True, tag="additive"):
    """A GAM: a sum of one-column curves, linear between knots at quantiles."""

    #: Ridge penalty; 0: undecided.
    ridge: float = 0.0
    #: Penalties to try, strongest first: each fit warm-starts the next.
    ridges: tuple[float, ...] = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
    knots: int = 12


class Leafwise(_MemberSettings, frozen=True, tag="lightgbm"):
    """LightGBM's trees."""

    rate: float = 0.08
    leaves: int = 24
    min_rows: int = 20
    column_share: float = 0.4
    row_share: float = 1.0
    l2: float = 0.0
    #: Maximum number of bins per column.
    bins: int = 255
    #: Absolute error instead of the task's own loss.
    absolute: bool = False


class Symmetric(_MemberSettings, frozen=True, tag="catboost"):
    """CatBoost's symmetric trees."""

    rate: float = 0.08
    depth: int = 5
    l2: float = 3.0


Settings = Curves | Leafwise | Symmetric


class FittedMember(Protocol):
    """One fitted member."""

    @property
    def rounds(self) -> int:
        """Boosting rounds; 0 without boosting."""
        ...

    def margins(self, design: F64) -> F64:
        """float64 (n, k) for a design matrix (n, n_columns), before the member's output transform."""
        ...

    def written(self, name: str, columns: tuple[int, ...]) -> tuple[Member, Parts]:
        """The member as a part of a recipe, with its columns in the recipe's matrix, and its files."""
        ...
