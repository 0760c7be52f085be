"""Training and evaluation: splits by time, settings chosen on validation days, measured on later days, runs.

Upstream: `models` for learners and predictions; events arrive as arrays. Downstream: the run packs the folder that
training writes into a bundle, and the model card shows its evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.training.recommender.choose_settings import choose as choose
    from tidemill.training.recommender.evaluation import Measurement as Measurement
    from tidemill.training.recommender.evaluation import measure as measure
    from tidemill.training.recommender.evaluation import measure_ranker as measure_ranker
    from tidemill.training.recommender.protocol import Protocol as Protocol
    from tidemill.training.recommender.ranked_lists import RankedLists as RankedLists
    from tidemill.training.recommender.ranked_lists import ranked_lists as ranked_lists
    from tidemill.training.recommender.rankers import ListRanker as ListRanker
    from tidemill.training.recommender.splits import TimeSplit as TimeSplit
    from tidemill.training.recommender.splits import leave_one_out as leave_one_out
    from tidemill.training.recommender.splits import split_at as split_at
    from tidemill.training.recommender.splits import validation_splits as validation_splits
    from tidemill.training.recommender.train import TrainResult as TrainResult
    from tidemill.training.recommender.train import index_recall as index_recall
    from tidemill.training.recommender.train import train_recommender as train_recommender
    from tidemill.training.recommender.users_to_evaluate import catalogue as catalogue
    from tidemill.training.recommender.users_to_evaluate import evaluation_users as evaluation_users
    from tidemill.training.runs.per_unit_metrics import PerUnitMetrics as PerUnitMetrics
    from tidemill.training.runs.per_unit_metrics import read_unit_metrics as read_unit_metrics
    from tidemill.training.runs.per_unit_metrics import write_unit_metrics as write_unit_metrics
    from tidemill.training.runs.run_comparison import RunComparison as RunComparison
    from tidemill.training.runs.run_comparison import compare as compare
    from tidemill.training.runs.run_tracker import RunTracker as RunTracker
    from tidemill.training.runs.runs import Runs as Runs
    from tidemill.training.search.choice_result import ChoiceResult as ChoiceResult
    from tidemill.training.search.run_search import best_trial as best_trial
    from tidemill.training.search.run_search import run_search as run_search
    from tidemill.training.search.search_budget import SearchBudget as SearchBudget
    from tidemill.training.tabular.assess.assess import assess as assess
    from tidemill.training.tabular.assess.model_answers import tabular_figures as tabular_figures
    from tidemill.training.tabular.foreign.foreign_model import import_tabular as import_tabular
    from tidemill.training.tabular.resolve_learner import learn_settings as learn_settings
    from tidemill.training.tabular.rows.dataset_fingerprint import dataset_fingerprint as dataset_fingerprint
    from tidemill.training.tabular.rows.splits import SplitRule as SplitRule
    from tidemill.training.tabular.rows.splits import split_examples as split_examples
    from tidemill.training.tabular.train import TabularResult as TabularResult
    from tidemill.training.tabular.train import train_tabular as train_tabular
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "recommender.choose_settings": "choose",
            "recommender.evaluation": "Measurement measure measure_ranker",
            "recommender.protocol": "Protocol",
            "recommender.ranked_lists": "RankedLists ranked_lists",
            "recommender.rankers": "ListRanker",
            "recommender.splits": "TimeSplit leave_one_out split_at validation_splits",
            "recommender.train": "TrainResult index_recall train_recommender",
            "recommender.users_to_evaluate": "catalogue evaluation_users",
            "runs.per_unit_metrics": "PerUnitMetrics read_unit_metrics write_unit_metrics",
            "runs.run_comparison": "RunComparison compare",
            "runs.run_tracker": "RunTracker",
            "runs.runs": "Runs",
            "search.choice_result": "ChoiceResult",
            "search.run_search": "best_trial run_search",
            "search.search_budget": "SearchBudget",
            "tabular.assess.assess": "assess",
            "tabular.assess.model_answers": "tabular_figures",
            "tabular.foreign.foreign_model": "import_tabular",
            "tabular.resolve_learner": "learn_settings",
            "tabular.rows.dataset_fingerprint": "dataset_fingerprint",
            "tabular.rows.splits": "SplitRule split_examples",
            "tabular.train": "TabularResult train_tabular",
        },
    )
