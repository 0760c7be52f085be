"""Comparison of two bundles by their predictions: on golden rows of a tabular model, or as lists for known users."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tidemill.core.ports import VectorSearch
from tidemill.governance.reproduction import AnswerComparison, compare_lists, compare_numbers
from tidemill.lake import LakeSnapshot
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.training.train_recommender import model_named
from tidemill.models import Interactions, open_recommender
from tidemill.models.recommender.recommender import Recommender
from tidemill.models.tabular.tabular_bundle import ABOUT, open_tabular, read_golden

#: Number of users to compare, and length of their lists.
USERS, LENGTH = 300, 20
#: Number of examples to compare for a bundle without golden rows.
ROWS = 2_000


def compare_bundles(
    graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path, search: VectorSearch
) -> AnswerComparison:
    """Compare the predictions of two bundles of a model on the same inputs, with the code of this process."""
    if (before / ABOUT).is_file():
        return _answers(graph, model, view, before, after)
    events, _ = LearningEvents.from_snapshot(graph, model_named(graph, model), view).read()
    return _lists(events, open_recommender(before, search), open_recommender(after, search))


def _answers(graph: ProjectGraph, model: str, view: LakeSnapshot, before: Path, after: Path) -> AnswerComparison:
    """Compare on the golden rows of the bundle; if there are none, on the examples."""
    inputs, answers = read_golden(before)
    if len(inputs):
        return compare_numbers(answers, open_tabular(after).answer(inputs))
    inputs = build_examples(graph, view, graph.askings[model]).inputs.slice(0, ROWS)
    return compare_numbers(open_tabular(before).answer(inputs), open_tabular(after).answer(inputs))


def _lists(events: Interactions, before: Recommender, after: Recommender) -> AnswerComparison:
    users = np.linspace(0, events.n_users - 1, min(USERS, events.n_users)).astype(int).tolist()
    found = compare_lists(*([_list(made, events, user) for user in users] for made in (before, after)))
    return replace(found, what=f"lists of {LENGTH} items of users")


def _list(recommender: Recommender, events: Interactions, user: int) -> list[tuple[str, float]]:
    codes, times = events.history(user)
    known = [
        (recommender.codes[events.items[code]], time)
        for code, time in zip(codes.tolist(), times.tolist(), strict=True)
        if events.items[code] in recommender.codes
    ]
    found = recommender.nearest([code for code, _ in known], [time for _, time in known], LENGTH)
    items, scores = found.item.tolist()[:LENGTH], found.score.tolist()[:LENGTH]
    return [(recommender.items[code], float(score)) for code, score in zip(items, scores, strict=True)]
