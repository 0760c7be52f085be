"""What learns and answers? Learners and their settings, the recommender that they leave, and the slate that answers.

Upstream: nothing but core. It knows no lake, no server and no user: interactions come in as arrays of codes, facts come
in through a small protocol, and what goes out is a folder of arrays and an answer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.models.facts import EventFacts, Facts
    from tidemill.models.interactions import Interactions
    from tidemill.models.item_plane import ItemMap, ItemVectors, item_map
    from tidemill.models.learner_spec import LearnerSpec
    from tidemill.models.learners import (
        Als,
        AnyLearner,
        Auto,
        Blend,
        Cooccurrence,
        Ease,
        ItemKnn,
        Popularity,
        Spectral,
        Transitions,
        als,
        auto,
        blend,
        cooccurrence,
        ease,
        item_knn,
        popularity,
        spectral,
        transitions,
    )
    from tidemill.models.learning import learn
    from tidemill.models.own_rules import load_functions
    from tidemill.models.recommender import Candidates, Recommender
    from tidemill.models.recommender_file import open_recommender, write_recommender
    from tidemill.models.shortlist import Shortlist
    from tidemill.models.slate_engine import Answer, SlateEngine
    from tidemill.models.slate_spec import (
        SlateSpec,
        check_parts,
        diverse,
        eligible,
        facts_of,
        nearest,
        popular,
        relevance,
        slate,
        trending,
        unseen,
    )
    from tidemill.models.slate_steps import SlateSteps, SteppedEngine

_HOMES = {
    "facts": ["EventFacts", "Facts"],
    "interactions": ["Interactions"],
    "item_plane": ["ItemMap", "ItemVectors", "item_map"],
    "learning": ["learn"],
    "learner_spec": ["LearnerSpec"],
    "learners": [
        "Als", "AnyLearner", "Auto", "Blend", "Cooccurrence", "Ease", "ItemKnn", "Popularity",
        "Spectral", "Transitions", "als", "auto", "blend", "cooccurrence", "ease", "item_knn", "popularity", "spectral",
        "transitions",
    ],
    "own_rules": ["load_functions"],
    "recommender": ["Candidates", "Recommender"],
    "recommender_file": ["open_recommender", "write_recommender"],
    "shortlist": ["Shortlist"],
    "slate_engine": ["Answer", "SlateEngine"],
    "slate_steps": ["SlateSteps", "SteppedEngine"],
    "slate_spec": [
        "SlateSpec", "check_parts", "diverse", "eligible", "facts_of", "nearest", "popular", "relevance", "slate",
        "trending", "unseen",
    ],
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Als",
    "Answer",
    "AnyLearner",
    "Auto",
    "Blend",
    "Candidates",
    "Cooccurrence",
    "Ease",
    "EventFacts",
    "Facts",
    "Interactions",
    "ItemKnn",
    "ItemMap",
    "ItemVectors",
    "LearnerSpec",
    "Popularity",
    "Recommender",
    "Shortlist",
    "SlateEngine",
    "SlateSpec",
    "SlateSteps",
    "Spectral",
    "SteppedEngine",
    "Transitions",
    "als",
    "auto",
    "blend",
    "check_parts",
    "cooccurrence",
    "diverse",
    "ease",
    "eligible",
    "facts_of",
    "item_knn",
    "item_map",
    "learn",
    "load_functions",
    "nearest",
    "open_recommender",
    "popular",
    "popularity",
    "relevance",
    "slate",
    "spectral",
    "transitions",
    "trending",
    "unseen",
    "write_recommender",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
