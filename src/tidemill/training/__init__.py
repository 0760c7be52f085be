"""How is it learned, and how good is it? Splits by time, settings chosen on validation days, evaluation, training.

Upstream: `models` for learners and answers; events come in as arrays. Downstream: the run seals the folder that a
training leaves into a bundle, and the card shows its evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.training.choice import choose as choose
    from tidemill.training.chosen import Choice as Choice
    from tidemill.training.comparison import Comparison as Comparison
    from tidemill.training.comparison import compare as compare
    from tidemill.training.effort import Effort as Effort
    from tidemill.training.evaluation import Measurement as Measurement
    from tidemill.training.evaluation import measure as measure
    from tidemill.training.evaluation import measure_ranker as measure_ranker
    from tidemill.training.held_out import leave_one_out as leave_one_out
    from tidemill.training.measured import catalogue as catalogue
    from tidemill.training.measured import measured_users as measured_users
    from tidemill.training.protocol import Protocol as Protocol
    from tidemill.training.ranked_lists import RankedLists as RankedLists
    from tidemill.training.ranked_lists import read_ranked as read_ranked
    from tidemill.training.rankers import Ranker as Ranker
    from tidemill.training.recommender_training import TrainResult as TrainResult
    from tidemill.training.recommender_training import index_recall as index_recall
    from tidemill.training.recommender_training import train_recommender as train_recommender
    from tidemill.training.runs import Runs as Runs
    from tidemill.training.search import best_trial as best_trial
    from tidemill.training.search import run_search as run_search
    from tidemill.training.tabular.assess import assess as assess
    from tidemill.training.tabular.dataset_mark import dataset_mark as dataset_mark
    from tidemill.training.tabular.learn_dispatch import learn_settings as learn_settings
    from tidemill.training.tabular.splitting import SplitRule as SplitRule
    from tidemill.training.tabular.splitting import split_examples as split_examples
    from tidemill.training.tabular.tabular_figures import tabular_figures as tabular_figures
    from tidemill.training.tabular.tabular_figures import tabular_metrics as tabular_metrics
    from tidemill.training.tabular.training import TabularResult as TabularResult
    from tidemill.training.tabular.training import train_tabular as train_tabular
    from tidemill.training.time_split import TimeSplit as TimeSplit
    from tidemill.training.time_split import split_at as split_at
    from tidemill.training.time_split import validation_splits as validation_splits
    from tidemill.training.tracked import Tracked as Tracked
    from tidemill.training.user_figures import UserFigures as UserFigures
    from tidemill.training.user_figures import read_figures as read_figures
    from tidemill.training.user_figures import write_figures as write_figures
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "choice": "choose",
            "chosen": "Choice",
            "comparison": "Comparison compare",
            "effort": "Effort",
            "evaluation": "Measurement measure measure_ranker",
            "held_out": "leave_one_out",
            "measured": "catalogue measured_users",
            "protocol": "Protocol",
            "ranked_lists": "RankedLists read_ranked",
            "rankers": "Ranker",
            "recommender_training": "TrainResult index_recall train_recommender",
            "runs": "Runs",
            "search": "best_trial run_search",
            "tabular.assess": "assess",
            "tabular.dataset_mark": "dataset_mark",
            "tabular.learn_dispatch": "learn_settings",
            "tabular.splitting": "SplitRule split_examples",
            "tabular.tabular_figures": "tabular_figures tabular_metrics",
            "tabular.training": "TabularResult train_tabular",
            "time_split": "TimeSplit split_at validation_splits",
            "tracked": "Tracked",
            "user_figures": "UserFigures read_figures write_figures",
        },
    )
