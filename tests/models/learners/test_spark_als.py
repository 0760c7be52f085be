"""ALS by Spark ML: factors of the form that `implicit` gives, which recommend the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tidemill.backends.polars import PolarsEngine
from tidemill.backends.spark import SparkEngine
from tidemill.core.ports import Engine
from tidemill.models import Interactions, learn
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.learners.als import als, als_factors
from tidemill.models.learners.incremental_refresh import count_all
from tidemill.models.learners.spark_als import spark_als_factors
from tidemill.models.recommender.user_vectors import Factors

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DAY = 86_400_000_000
AS_OF = 100 * DAY
SETTINGS = {"factors": 6, "regularization": 0.1, "confidence": 20.0, "iterations": 10}


def table() -> pa.Table:
    """Users of three groups, each with six of the ten items of its group, once or twice."""
    chance = np.random.default_rng(1)
    rows = []
    for user in range(120):
        for item in chance.choice(10, 6, replace=False):
            rows += [(f"u{user}", f"i{user % 3 * 10 + item:02}", int(chance.integers(99)))] * int(chance.integers(1, 3))
    users, items, days = zip(*rows, strict=True)
    at = pa.array([day * DAY for day in days], pa.timestamp("us", "UTC"))
    return pa.table({"who": users, "what": items, "at": at, "_row": np.arange(len(rows))})


def on(engine: Engine) -> EngineEvents:
    return EngineEvents(engine, engine.frame(table()), "who", "what", "at", "_row", AS_OF)


def in_process() -> Interactions:
    return Interactions.from_arrow(table(), user="who", item="what", time="at", row="_row")


def top(found: Factors, events: Interactions) -> list[set[int]]:
    histories = [list(dict.fromkeys(events.history(user)[0].tolist())) for user in range(events.n_users)]
    scores = [found.items @ found.user(history, [1.0] * len(history)) for history in histories]
    return [set(np.argsort(-score)[:10].tolist()) for score in scores]


@pytest.mark.spark
def test_factors_recommend_what_those_of_implicit_do(spark: SparkEngine) -> None:
    events = in_process()
    ours, theirs = spark_als_factors(on(spark), **SETTINGS), als_factors(events, **SETTINGS)  # type: ignore[arg-type]
    assert ours.items.shape == theirs.items.shape == (30, 6)
    both = zip(top(ours, events), top(theirs, events), strict=True)
    assert np.mean([len(one & other) / 10 for one, other in both]) > 0.95
    again = spark_als_factors(on(spark), **SETTINGS)  # type: ignore[arg-type]
    np.testing.assert_allclose(again.items @ again.items.T, ours.items @ ours.items.T, atol=1e-3)


@pytest.mark.spark
def test_a_recommender_of_a_sample_gets_the_factors_of_all_events(spark: SparkEngine) -> None:
    events = in_process()
    sampled = learn(als(factors=6), events.where(events.user < 30), AS_OF)
    assert sampled.n_items <= 30
    found = count_all(sampled, on(spark))
    assert list(found.items) == events.items
    vectors = found.parts["als"].vectors
    assert isinstance(vectors, Factors) and vectors.n_items == 30
    nearest = found.nearest([found.codes["i00"], found.codes["i01"]], [99 * DAY] * 2, 8)
    assert {found.items[code][1] for code in nearest.item.tolist()} == {"0"}


def test_an_engine_in_this_process_learns_here() -> None:
    events = in_process()
    sampled = learn(als(factors=6), events.where(events.user < 30), AS_OF)
    assert count_all(sampled, on(PolarsEngine())) is sampled
