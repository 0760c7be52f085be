"""ALS: factors of implicit feedback by alternating least squares (Hu, Koren & Volinsky 2008), with `implicit`.

User factors are not stored: they are computed from the history at serving time, see `Factors`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidemill.core.errors import BackendMissing
from tidemill.core.processes.single_thread import single_thread
from tidemill.core.search_space import Space
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.learners.learner import Capabilities, LearnerSpec
from tidemill.models.learners.settings import Count, CountOrZero, NotNegative, Positive, number, whole
from tidemill.models.learners.spark_als import spark_als_factors
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.interactions import Interactions
from tidemill.models.recommender.user_vectors import Factors


class Als(LearnerSpec, frozen=True, kw_only=True, tag="als"):
    """Factors of implicit feedback by alternating least squares (Hu, Koren & Volinsky 2008)."""

    GRID: ClassVar[dict[str, tuple[Any, ...]]] = LearnerSpec.GRID | {
        "factors": (64, 16),
        "confidence": (10.0, 40.0),
        "recency": ("365 days", "30 days"),
    }
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(auto_order=60, extra="learn", on_engine=True)

    factors: CountOrZero | Space | None = None
    #: The confidence of an observed user-item pair is 1 + confidence.
    confidence: NotNegative | Space | None = None
    l2: Positive | Space = 0.1
    iterations: Count | Space = 10

    def fit(self, events: Interactions, as_of: int) -> Factors:
        return als_factors(
            events,
            factors=whole(self.factors),
            regularization=number(self.l2),
            confidence=number(self.confidence),
            iterations=whole(self.iterations),
        )

    def fit_on_engine(self, events: EngineEvents) -> Factors | None:
        if events.engine.name != "spark":
            return None
        return spark_als_factors(
            events,
            factors=whole(self.factors),
            regularization=number(self.l2),
            confidence=number(self.confidence),
            iterations=whole(self.iterations),
        )


def als(**settings: Any) -> Als:
    """Factors by alternating least squares; settings are the fields of `Als`. Needs the extra `learn`.

    With Spark as the engine, the settings are chosen here, and Spark ML learns the factors of all events.
    """
    return Als.from_settings(settings)


def als_factors(
    events: Interactions,
    *,
    factors: int,
    regularization: float,
    confidence: float,
    iterations: int = 15,
    seed: int = 0,
) -> Factors:
    """Factors of every item of `events`, each user-item pair counted once: 1 + `confidence` against 1 for the rest.

    The same events and seed give the same factors. Raises `BackendMissing` without the library `implicit`.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing("als needs implicit", tip="pip install 'tidemill[learn]'") from problem
    users = user_item_matrix(events)
    users.data *= np.float32(1 + confidence)
    with single_thread():
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularization, iterations=iterations, num_threads=1, random_state=seed
        )
        model.fit(users, show_progress=False)
    items = np.ascontiguousarray(model.item_factors, np.float32)
    return Factors.from_items(items, regularization=regularization, confidence=confidence)
