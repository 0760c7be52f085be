"""Learn whatever mill.py declares under a name: a recommender or a tabular model."""

from __future__ import annotations

from tidemill.core.errors import UnknownName, UsageError, nearest
from tidemill.loop.graph import Graph
from tidemill.loop.house import House
from tidemill.loop.learn import Learned, learn
from tidemill.loop.run import Teller, silent
from tidemill.loop.tabular.learn_model import learn_model
from tidemill.training import Effort
from tidemill.training.effort import USUAL


def train(
    house: House,
    graph: Graph,
    name: str,
    *,
    at: int | None = None,
    rules_only: bool = False,
    effort: Effort = USUAL,
    tell: Teller = silent,
) -> Learned:
    """Learn the model `name` from what is published, measure it, and make a release of it; see `learn`, `learn_model`.

    `at` and `rules_only` are for recommenders.
    """
    if name not in graph.mill.models:
        if name not in graph.mill.recommenders:
            raise UnknownName(f"no model {name!r}", tip=nearest(name, graph.mill.model_names))
        return learn(house, graph, name, at=at, rules_only=rules_only, effort=effort, tell=tell)
    if rules_only or at is not None:
        asked = "--rules-only" if rules_only else "--test-from"
        raise UsageError(f"{name} is a tabular model, and {asked} is for recommenders", tip=f"tidemill train {name}")
    return learn_model(house, graph, name, effort=effort, tell=tell)
