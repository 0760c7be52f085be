"""ALS on Spark: item factors of implicit feedback by Spark ML, over events that stay on the cluster.

Spark ML weights the regularisation of a user by the number of their items (Zhou et al. 2008), `implicit` does not: it
is divided by the mean number here, so that it is the same for the average user. Only item factors come to this process.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import BackendMissing
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.recommender.user_vectors import Factors

#: Users are numbered within this many parts by hash, because numbering all of them would need one worker.
PARTS = 256
#: Iterations between checkpoints, if the session has a folder for them: a longer plan overflows the stack of Java.
CHECKPOINTS = 2
_USER, _ITEM, _TAKEN, _PART, _START = "_user", "_item", "_taken", "_part", "_start"


def spark_als_factors(
    events: EngineEvents, *, factors: int, regularization: float, confidence: float, iterations: int, seed: int = 0
) -> Factors:
    """Factors of every item of `events`, frames of Spark; each user-item pair is counted once.

    The order of sums depends on the cluster, so factors are equal only to about float32's precision. Raises
    `BackendMissing` without Spark ML.
    """
    try:
        from pyspark.ml.recommendation import ALS  # noqa: PLC0415 - an optional library
    except ImportError as problem:
        raise BackendMissing("als on Spark needs Spark ML", tip="pip install 'tidemill[spark]' numpy") from problem
    items = events.facts.items
    codes = events.engine.frame(pa.table({events.item: items, _ITEM: np.arange(len(items), dtype=np.int32)}))
    taken = events.frame.select(events.user, events.item).unique().join(codes, on=events.item)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark warns about its own use of pandas 3
        pairs = _numbered(taken.to_native(), events.user).persist()
        try:
            mean = pairs.count() / events.facts.n_users
            model = ALS(
                rank=factors, maxIter=iterations, regParam=regularization / mean, implicitPrefs=True, alpha=confidence,
                userCol=_USER, itemCol=_ITEM, ratingCol=_TAKEN, seed=seed,
                checkpointInterval=CHECKPOINTS,
            ).fit(pairs)  # fmt: skip
            found = model.itemFactors.toArrow()
        finally:
            pairs.unpersist()
    vectors = np.zeros((len(items), factors), np.float32)
    flat = found["features"].combine_chunks()
    vectors[found["id"].to_numpy()] = np.asarray(flat.flatten(), np.float32).reshape(-1, factors)
    return Factors.from_items(vectors, regularization=regularization, confidence=confidence)


def _numbered(taken: Any, user: str) -> Any:
    """Pairs with the number of the user, from 0, and a 1."""
    from pyspark.sql import Window, functions  # noqa: PLC0415 - an optional library

    column = functions.col(f"`{user}`")
    part = functions.pmod(functions.xxhash64(column), functions.lit(PARTS))
    users = taken.select(column).distinct().withColumn(_PART, part)
    sizes = {row[_PART]: row["count"] for row in users.groupBy(_PART).count().collect()}
    starts = np.concatenate(([0], np.cumsum([sizes.get(number, 0) for number in range(PARTS)]))).tolist()
    start = functions.element_at(functions.array(*map(functions.lit, starts)), functions.col(_PART).cast("int") + 1)
    within = functions.row_number().over(Window.partitionBy(_PART).orderBy(column))
    numbers = users.withColumn(_USER, (start + within - 1).cast("int")).select(column, _USER)
    return taken.join(numbers, on=user).select(_USER, _ITEM, functions.lit(1.0).alias(_TAKEN))
