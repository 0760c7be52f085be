"""How is it learned, and how good is it? Splits by time, settings chosen on validation days, evaluation, training.

Upstream: `models` for learners and answers; events come in as arrays. Downstream: the run seals the folder that a
training leaves into a bundle, and the card shows its evaluation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.training.choice import Choice, choose
    from tidemill.training.evaluation import evaluate
    from tidemill.training.recommender_training import TrainResult, index_recall, train_recommender
    from tidemill.training.time_split import TimeSplit, split_at, validation_splits

_HOMES = {
    "Choice": "choice",
    "TimeSplit": "time_split",
    "TrainResult": "recommender_training",
    "choose": "choice",
    "evaluate": "evaluation",
    "index_recall": "recommender_training",
    "split_at": "time_split",
    "train_recommender": "recommender_training",
    "validation_splits": "time_split",
}

__all__ = [
    "Choice",
    "TimeSplit",
    "TrainResult",
    "choose",
    "evaluate",
    "index_recall",
    "split_at",
    "train_recommender",
    "validation_splits",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
