"""Learning the trees of a blend: parts cut at earlier times, asked about the events that came after each cut.

Windows lie back to back at the end of the events, a tenth of what comes before their end each. For each one the parts
are learned from what lies before it, and each of its events is a question: of the items that the parts draw for the
user's history until then, which one was taken? What the trees learn of all windows serves the parts that are learned
until the as-of. Several windows matter more than the shape of the trees: one alone teaches what was special then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.core.errors import TooLittleData
from tidemill.models.facts import EventFacts
from tidemill.models.interactions import F32, I64, Interactions
from tidemill.models.learners import Blend
from tidemill.models.ranker import fit_ranker
from tidemill.models.ranker_features import feature_names, query_features
from tidemill.models.ranking import Ranking
from tidemill.models.recipe import number, whole
from tidemill.models.recommender import Recommender

#: Windows that the trees learn from, and the share of the events before its end that each takes.
WINDOWS, SHARE = 3, 0.1
#: Questions of a window at most, evenly over its events.
QUESTIONS = 10_000
#: The most taken items of the last days are among the candidates too: slates may draw them beside the parts.
POPULAR, POPULAR_DAYS = 50, 90
#: Fewer questions than this, whose answer was drawn, teach trees nothing.
ENOUGH = 50

#: The recommender, without a ranking, as it would have been learned from these events at their as-of.
Earlier = Callable[[Interactions, int], Recommender]


@dataclass(frozen=True)
class _Asked:
    """Questions of one window: features (n, n_features), whether each row was taken, and rows of each question."""

    features: F32
    taken: I64
    rows: I64


def learn_ranking(
    spec: Blend,
    events: Interactions,
    as_of: int,
    *,
    earlier: Earlier,
    progress: Callable[[str, dict[str, Any]], None],
) -> Ranking:
    """Trees over the parts of a settled blend, from events before `as_of` (microseconds).

    Raises `TooLittleData` where parts that were cut earlier find hardly anything that was taken afterwards, and
    `BackendMissing` without LightGBM.
    """
    asked: list[_Asked] = []
    names: tuple[str, ...] = ()
    for start, end in _windows(events):
        before = events.before(start)
        recommender = earlier(before, start)
        names = feature_names({name: part.kind for name, part in recommender.parts.items()})
        asked.append(_ask(spec, recommender, before, events, start, end))
        progress("questions", {"answered": f"{len(asked[-1].rows):,}", "candidates": f"{len(asked[-1].taken):,}"})
    asked = [one for one in asked if len(one.rows)]
    if sum(len(one.rows) for one in asked) < ENOUGH:
        raise TooLittleData(
            f"a blend needs {ENOUGH} later events that its parts could have found",
            tip="learn a simpler model, for example tm.cooccurrence()",
        )
    ranker = fit_ranker(
        np.concatenate([one.features for one in asked]),
        np.concatenate([one.taken for one in asked]),
        np.concatenate([one.rows for one in asked]),
        names,
        trees=whole(spec.trees),
        leaves=whole(spec.leaves),
        rate=number(spec.rate),
        min_leaf=whole(spec.min_leaf),
        told=lambda tree, ndcg: progress("trees", {"tree": f"{tree} of {spec.trees}", "ndcg@10": ndcg}),
    )
    return Ranking(ranker, first_seen(events))


def first_seen(events: Interactions) -> I64:
    """int64 (n_items), microseconds: when each item had its first event."""
    first = np.full(events.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, events.item, events.time)
    return first


def _windows(events: Interactions) -> Iterator[tuple[int, int]]:
    """`(start, end)` of each window, latest first; fewer where the events lie on few days."""
    end = int(events.time.max()) + 1
    for _ in range(WINDOWS):
        before = events.time[events.time < end]
        if not len(before):
            return
        start = int(np.quantile(before, 1 - SHARE, method="higher"))
        if start <= int(before.min()):
            return
        yield start, end
        end = start


def _ask(
    spec: Blend, recommender: Recommender, before: Interactions, events: Interactions, start: int, end: int
) -> _Asked:
    """What is asked in one window; questions whose answer was not drawn teach nothing and are left out."""
    facts = EventFacts(before.items, item=before.item, time=before.time, as_of=start)
    of_items = Ranking.features_of(first_seen(before), facts.counts, start)
    code = np.searchsorted(before.items, events.items)  # both are sorted
    known = np.asarray(before.items, object)[np.minimum(code, before.n_items - 1)] == np.asarray(events.items, object)
    code = np.where(known, code, -1)[events.item]  # (n_events), -1: not known then
    places = np.flatnonzero((events.time >= start) & (events.time < end) & (code >= 0))
    # In order of time and not of users, whose codes follow pseudonyms: another project asks the same questions.
    places = places[np.lexsort((events.item[places], events.time[places]))]
    places = places[np.linspace(0, len(places) - 1, min(QUESTIONS, len(places))).astype(int)]
    popular = np.argsort(-facts.counts(POPULAR_DAYS), kind="stable")[:POPULAR].astype(np.int32)
    features, taken, rows = [], [], []
    for place in places.tolist():
        history = slice(int(events.starts[events.user[place]]), place)
        shown = code[history] >= 0
        items = code[history][shown].tolist()
        if not items or code[place] in items:
            continue
        profile = recommender.profile(items, events.time[history][shown].tolist())
        drawn = np.union1d(profile.nearest(spec.draws), popular)
        hit = drawn == code[place]
        if hit.any():
            new = ~np.isin(drawn, items)
            features.append(query_features(profile, of_items, drawn[new], start))
            taken.append(hit[new].astype(np.int64))
            rows.append(int(new.sum()))
    if not rows:
        return _Asked(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return _Asked(np.concatenate(features), np.concatenate(taken), np.array(rows, np.int64))
