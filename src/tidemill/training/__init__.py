"""How is it learned, and how good is it? Splits by time, settings chosen on validation days, evaluation, training.

Upstream: `models` for learners and answers; events come in as arrays. Downstream: the run seals the folder that a
training leaves into a bundle, and the card shows its evaluation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.training.choice import choose
    from tidemill.training.chosen import Choice
    from tidemill.training.comparison import Comparison, compare
    from tidemill.training.effort import Effort
    from tidemill.training.evaluation import Measurement, measure, measure_ranker
    from tidemill.training.held_out import leave_one_out
    from tidemill.training.measured import catalogue, measured_users
    from tidemill.training.protocol import Protocol
    from tidemill.training.ranked_lists import RankedLists, read_ranked
    from tidemill.training.rankers import Ranker
    from tidemill.training.recommender_training import TrainResult, index_recall, train_recommender
    from tidemill.training.runs import Runs
    from tidemill.training.search import best_trial, run_search
    from tidemill.training.time_split import TimeSplit, split_at, validation_splits
    from tidemill.training.tracked import Tracked
    from tidemill.training.user_figures import UserFigures, read_figures, write_figures

_HOMES = {
    "Choice": "chosen",
    "Comparison": "comparison",
    "Effort": "effort",
    "Measurement": "evaluation",
    "Protocol": "protocol",
    "RankedLists": "ranked_lists",
    "Ranker": "rankers",
    "Runs": "runs",
    "TimeSplit": "time_split",
    "Tracked": "tracked",
    "TrainResult": "recommender_training",
    "UserFigures": "user_figures",
    "best_trial": "search",
    "catalogue": "measured",
    "choose": "choice",
    "compare": "comparison",
    "index_recall": "recommender_training",
    "leave_one_out": "held_out",
    "measure": "evaluation",
    "measure_ranker": "evaluation",
    "measured_users": "measured",
    "read_figures": "user_figures",
    "read_ranked": "ranked_lists",
    "run_search": "search",
    "split_at": "time_split",
    "train_recommender": "recommender_training",
    "validation_splits": "time_split",
    "write_figures": "user_figures",
}

__all__ = [
    "Choice",
    "Comparison",
    "Effort",
    "Measurement",
    "Protocol",
    "RankedLists",
    "Ranker",
    "Runs",
    "TimeSplit",
    "Tracked",
    "TrainResult",
    "UserFigures",
    "best_trial",
    "catalogue",
    "choose",
    "compare",
    "index_recall",
    "leave_one_out",
    "measure",
    "measure_ranker",
    "measured_users",
    "read_figures",
    "read_ranked",
    "run_search",
    "split_at",
    "train_recommender",
    "validation_splits",
    "write_figures",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
