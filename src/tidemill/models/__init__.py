"""What learns and answers? Learners and their settings, the recommender that they leave, and the slate that answers.

Upstream: nothing but core. It knows no lake, no server and no user: interactions come in as arrays of codes, facts come
in through a small protocol, and what goes out is a folder of arrays and an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.models.facts import EventFacts as EventFacts
    from tidemill.models.facts import Facts as Facts
    from tidemill.models.interactions import Interactions as Interactions
    from tidemill.models.item_plane import ItemMap as ItemMap
    from tidemill.models.item_plane import ItemVectors as ItemVectors
    from tidemill.models.item_plane import item_map as item_map
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
    from tidemill.models.own_rules import load_functions as load_functions
    from tidemill.models.recommender import Candidates as Candidates
    from tidemill.models.recommender import Recommender as Recommender
    from tidemill.models.recommender_file import open_recommender as open_recommender
    from tidemill.models.recommender_file import write_recommender as write_recommender
    from tidemill.models.shortlist import Shortlist as Shortlist
    from tidemill.models.slate_engine import Answer as Answer
    from tidemill.models.slate_engine import SlateEngine as SlateEngine
    from tidemill.models.slate_spec import SlateSpec as SlateSpec
    from tidemill.models.slate_spec import check_parts as check_parts
    from tidemill.models.slate_spec import diverse as diverse
    from tidemill.models.slate_spec import eligible as eligible
    from tidemill.models.slate_spec import facts_of as facts_of
    from tidemill.models.slate_spec import nearest as nearest
    from tidemill.models.slate_spec import popular as popular
    from tidemill.models.slate_spec import relevance as relevance
    from tidemill.models.slate_spec import slate as slate
    from tidemill.models.slate_spec import trending as trending
    from tidemill.models.slate_spec import unseen as unseen
    from tidemill.models.slate_steps import SlateSteps as SlateSteps
    from tidemill.models.slate_steps import SteppedEngine as SteppedEngine
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "facts": "EventFacts Facts",
            "interactions": "Interactions",
            "item_plane": "ItemMap ItemVectors item_map",
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
            "own_rules": "load_functions",
            "recommender": "Candidates Recommender",
            "recommender_file": "open_recommender write_recommender",
            "shortlist": "Shortlist",
            "slate_engine": "Answer SlateEngine",
            "slate_spec": (
                "SlateSpec check_parts diverse eligible facts_of nearest popular relevance slate trending unseen"
            ),
            "slate_steps": "SlateSteps SteppedEngine",
        },
    )
