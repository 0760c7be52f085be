"""Models: learners and their settings, the recommenders and tabular models that they train, and slates.

Upstream: core only. It has no access to the lake, the server or user ids: interactions are arrays of codes, facts
arrive through a small protocol, and the results are a folder of arrays and recommendations or predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.models.learners.als import Als as Als
    from tidemill.models.learners.als import als as als
    from tidemill.models.learners.auto import Auto as Auto
    from tidemill.models.learners.auto import auto as auto
    from tidemill.models.learners.blend import Blend as Blend
    from tidemill.models.learners.blend import blend as blend
    from tidemill.models.learners.cooccurrence import Cooccurrence as Cooccurrence
    from tidemill.models.learners.cooccurrence import cooccurrence as cooccurrence
    from tidemill.models.learners.ease import Ease as Ease
    from tidemill.models.learners.ease import ease as ease
    from tidemill.models.learners.item_knn import ItemKnn as ItemKnn
    from tidemill.models.learners.item_knn import item_knn as item_knn
    from tidemill.models.learners.learner import Capabilities as Capabilities
    from tidemill.models.learners.learner import LearnerSpec as LearnerSpec
    from tidemill.models.learners.learning import learn as learn
    from tidemill.models.learners.popularity import Popularity as Popularity
    from tidemill.models.learners.popularity import popularity as popularity
    from tidemill.models.learners.registry import learner_class as learner_class
    from tidemill.models.learners.registry import learner_names as learner_names
    from tidemill.models.learners.registry import learner_of as learner_of
    from tidemill.models.learners.spectral import Spectral as Spectral
    from tidemill.models.learners.spectral import spectral as spectral
    from tidemill.models.learners.transitions import Transitions as Transitions
    from tidemill.models.learners.transitions import transitions as transitions
    from tidemill.models.recommender.event_facts import EventFacts as EventFacts
    from tidemill.models.recommender.event_facts import ItemFactColumns as ItemFactColumns
    from tidemill.models.recommender.interactions import Interactions as Interactions
    from tidemill.models.recommender.item_map import ItemMap as ItemMap
    from tidemill.models.recommender.item_map import ItemVectors as ItemVectors
    from tidemill.models.recommender.item_map import item_map as item_map
    from tidemill.models.recommender.recommender import Candidates as Candidates
    from tidemill.models.recommender.recommender import Recommender as Recommender
    from tidemill.models.recommender.recommender_file import open_recommender as open_recommender
    from tidemill.models.recommender.recommender_file import write_recommender as write_recommender
    from tidemill.models.slates.custom_rules import load_functions as load_functions
    from tidemill.models.slates.shortlist import Shortlist as Shortlist
    from tidemill.models.slates.slate_engine import Slate as Slate
    from tidemill.models.slates.slate_engine import SlateEngine as SlateEngine
    from tidemill.models.slates.slate_spec import SlateSpec as SlateSpec
    from tidemill.models.slates.slate_spec import check_parts as check_parts
    from tidemill.models.slates.slate_spec import diverse as diverse
    from tidemill.models.slates.slate_spec import eligible as eligible
    from tidemill.models.slates.slate_spec import facts_of as facts_of
    from tidemill.models.slates.slate_spec import nearest as nearest
    from tidemill.models.slates.slate_spec import popular as popular
    from tidemill.models.slates.slate_spec import relevance as relevance
    from tidemill.models.slates.slate_spec import slate as slate
    from tidemill.models.slates.slate_spec import trending as trending
    from tidemill.models.slates.slate_spec import unseen as unseen
    from tidemill.models.slates.slate_steps import SlateSteps as SlateSteps
    from tidemill.models.slates.slate_steps import SteppedEngine as SteppedEngine
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "learners.als": "Als als",
            "learners.auto": "Auto auto",
            "learners.blend": "Blend blend",
            "learners.cooccurrence": "Cooccurrence cooccurrence",
            "learners.ease": "Ease ease",
            "learners.item_knn": "ItemKnn item_knn",
            "learners.learner": "Capabilities LearnerSpec",
            "learners.learning": "learn",
            "learners.popularity": "Popularity popularity",
            "learners.registry": "learner_class learner_names learner_of",
            "learners.spectral": "Spectral spectral",
            "learners.transitions": "Transitions transitions",
            "recommender.event_facts": "EventFacts ItemFactColumns",
            "recommender.interactions": "Interactions",
            "recommender.item_map": "ItemMap ItemVectors item_map",
            "recommender.recommender": "Candidates Recommender",
            "recommender.recommender_file": "open_recommender write_recommender",
            "slates.custom_rules": "load_functions",
            "slates.shortlist": "Shortlist",
            "slates.slate_engine": "Slate SlateEngine",
            "slates.slate_spec": (
                "SlateSpec check_parts diverse eligible facts_of nearest popular relevance slate trending unseen"
            ),
            "slates.slate_steps": "SlateSteps SteppedEngine",
        },
    )
