"""Training of a model that mill.py declares: a recommender or a tabular model."""

from __future__ import annotations

from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.core.progress import Progress, no_progress
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.loop.training.train_recommender import TrainingResult, learn
from tidemill.loop.training.train_tabular import learn_model
from tidemill.training import SearchBudget
from tidemill.training.search.search_budget import DEFAULT_BUDGET


def train(
    stores: Stores,
    graph: ProjectGraph,
    name: str,
    *,
    at: int | None = None,
    rules_only: bool = False,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train the model `name` on the published data, evaluate it, and create a release; see `learn`, `learn_model`.

    `at` and `rules_only` are for recommenders.
    """
    if name not in graph.mill.models:
        if name not in graph.mill.recommenders:
            raise UnknownName(f"no model {name!r}", tip=nearest(name, graph.mill.model_names))
        return learn(stores, graph, name, at=at, rules_only=rules_only, effort=effort, progress=progress)
    if rules_only or at is not None:
        option = "--rules-only" if rules_only else "--test-from"
        raise UsageError(f"{name} is a tabular model, but {option} is for recommenders", tip=f"tidemill train {name}")
    return learn_model(stores, graph, name, effort=effort, progress=progress)
