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
    from tidemill.training.tabular.assess import assess
    from tidemill.training.tabular.dataset_mark import dataset_mark
    from tidemill.training.tabular.learn_dispatch import learn_settings
    from tidemill.training.tabular.splitting import SplitRule, split_examples
    from tidemill.training.tabular.tabular_figures import tabular_figures, tabular_metrics
    from tidemill.training.tabular.training import TabularResult, train_tabular
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
    "SplitRule": "tabular.splitting",
    "TabularResult": "tabular.training",
    "TimeSplit": "time_split",
    "Tracked": "tracked",
    "TrainResult": "recommender_training",
    "UserFigures": "user_figures",
    "assess": "tabular.assess",
    "best_trial": "search",
    "catalogue": "measured",
    "choose": "choice",
    "compare": "comparison",
    "dataset_mark": "tabular.dataset_mark",
    "index_recall": "recommender_training",
    "learn_settings": "tabular.learn_dispatch",
    "leave_one_out": "held_out",
    "measure": "evaluation",
    "measure_ranker": "evaluation",
    "measured_users": "measured",
    "read_figures": "user_figures",
    "read_ranked": "ranked_lists",
    "run_search": "search",
    "split_at": "time_split",
    "split_examples": "tabular.splitting",
    "tabular_figures": "tabular.tabular_figures",
    "tabular_metrics": "tabular.tabular_figures",
    "train_recommender": "recommender_training",
    "train_tabular": "tabular.training",
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
    "SplitRule",
    "TabularResult",
    "TimeSplit",
    "Tracked",
    "TrainResult",
    "UserFigures",
    "assess",
    "best_trial",
    "catalogue",
    "choose",
    "compare",
    "dataset_mark",
    "index_recall",
    "learn_settings",
    "leave_one_out",
    "measure",
    "measure_ranker",
    "measured_users",
    "read_figures",
    "read_ranked",
    "run_search",
    "split_at",
    "split_examples",
    "tabular_figures",
    "tabular_metrics",
    "train_recommender",
    "train_tabular",
    "validation_splits",
    "write_figures",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
