"""Recommender family: what trains, evaluates, opens and checks recommenders; loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.loop.families.recommender.recommender_evaluation import prepare_evaluation as prepare_evaluation
    from tidemill.loop.families.recommender.recommender_training import RecommenderTraining as RecommenderTraining
    from tidemill.loop.families.recommender.recommender_training import compare as compare
    from tidemill.loop.families.recommender.recommender_training import measured as measured
    from tidemill.loop.families.recommender.recommender_training import retrain as retrain
    from tidemill.loop.families.recommender.settings_match import declaration_difference as declaration_difference
    from tidemill.loop.families.recommender.settings_match import trained_release as trained_release
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "recommender_evaluation": "prepare_evaluation",
            "recommender_training": "RecommenderTraining compare measured retrain",
            "settings_match": "declaration_difference trained_release",
        },
    )
