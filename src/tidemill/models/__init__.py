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
    from tidemill.models.learner_spec import LearnerSpec as LearnerSpec
    from tidemill.models.learners import Als as Als
    from tidemill.models.learners import AnyLearner as AnyLearner
    from tidemill.models.learners import Auto as Auto
    from tidemill.models.learners import Blend as Blend
    from tidemill.models.learners import Cooccurrence as Cooccurrence
    from tidemill.models.learners import Ease as Ease
    from tidemill.models.learners import ItemKnn as ItemKnn
    from tidemill.models.learners import Popularity as Popularity
    from tidemill.models.learners import Spectral as Spectral
    from tidemill.models.learners import Transitions as Transitions
    from tidemill.models.learners import als as als
    from tidemill.models.learners import auto as auto
    from tidemill.models.learners import blend as blend
    from tidemill.models.learners import cooccurrence as cooccurrence
    from tidemill.models.learners import ease as ease
    from tidemill.models.learners import item_knn as item_knn
    from tidemill.models.learners import popularity as popularity
    from tidemill.models.learners import spectral as spectral
    from tidemill.models.learners import transitions as transitions
    from tidemill.models.learning import learn as learn
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
            "learner_spec": "LearnerSpec",
            "learners": (
                "Als AnyLearner Auto Blend Cooccurrence Ease ItemKnn Popularity Spectral Transitions als auto "
                "blend cooccurrence ease item_knn popularity spectral transitions"
            ),
            "learning": "learn",
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
