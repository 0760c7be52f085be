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
    from tidemill.models.learners import (
        AnyLearner,
        Cooccurrence,
        ItemKnn,
        LearnerSpec,
        Popularity,
        Spectral,
        cooccurrence,
        item_knn,
        popularity,
        spectral,
    )
    from tidemill.models.learning import learn
    from tidemill.models.own_rules import load_functions
    from tidemill.models.recommender import Candidates, Recommender
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

_HOMES = {
    "facts": ["EventFacts", "Facts"],
    "interactions": ["Interactions"],
    "learning": ["learn"],
    "learners": [
        "AnyLearner", "Cooccurrence", "ItemKnn", "LearnerSpec", "Popularity", "Spectral", "cooccurrence", "item_knn",
        "popularity", "spectral",
    ],
    "own_rules": ["load_functions"],
    "recommender": ["Candidates", "Recommender"],
    "shortlist": ["Shortlist"],
    "slate_engine": ["Answer", "SlateEngine"],
    "slate_spec": [
        "SlateSpec", "check_parts", "diverse", "eligible", "facts_of", "nearest", "popular", "relevance", "slate",
        "trending", "unseen",
    ],
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "AnyLearner",
    "Candidates",
    "Cooccurrence",
    "EventFacts",
    "Facts",
    "Interactions",
    "ItemKnn",
    "LearnerSpec",
    "Popularity",
    "Recommender",
    "Shortlist",
    "SlateEngine",
    "SlateSpec",
    "Spectral",
    "check_parts",
    "cooccurrence",
    "diverse",
    "eligible",
    "facts_of",
    "item_knn",
    "learn",
    "load_functions",
    "nearest",
    "popular",
    "popularity",
    "relevance",
    "slate",
    "spectral",
    "trending",
    "unseen",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
