"""LambdaMART: boosted trees trained for the NDCG of the order within each query (Burges 2010), by LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import TooLittleData
from tidemill.models.formats.lightgbm_library import lightgbm_library
from tidemill.models.formats.lightgbm_text_check import checked_text
from tidemill.models.recommender.interactions import F32
from tidemill.models.recommender.ranker import NEEDED, Ranker

#: Number of top positions of a query's list that training optimises.
ORDERED = 30
#: Maximum number of bins of a feature: coarse enough for noisy counts, and saves a third of the time.
BINS = 63
#: Number of trees between two progress reports.
EVERY = 5


def fit_ranker(
    features: F32,
    labels: npt.NDArray[np.integer],
    groups: npt.NDArray[np.integer],
    names: Sequence[str],
    *,
    trees: int = 50,
    leaves: int = 7,
    rate: float = 0.1,
    min_leaf: int = 400,
    seed: int = 0,
    told: Callable[[int, float], None] | None = None,
) -> Ranker:
    """A ranker from `features` float32 (n, n_features) and `labels` (n): 1 for taken items, 0 for the rest.

    `groups` are the sizes of the queries, whose rows are contiguous. `told` is called every `EVERY` trees with the
    number of trees so far and their NDCG@10 on these same rows. The same input gives the same trees. Raises
    `TooLittleData` if no query has both kinds of rows, and `BackendMissing` without LightGBM.
    """
    lightgbm = lightgbm_library(NEEDED)
    if features.shape != (len(labels), len(names)) or int(np.sum(groups)) != len(labels):
        raise ValueError(f"{features.shape} features do not match {len(labels)} labels and {len(names)} names")
    starts = np.concatenate(([0], np.cumsum(groups)[:-1])).astype(np.int64)
    taken = np.add.reduceat(np.asarray(labels, np.int64), starts) if len(groups) else np.zeros(0, np.int64)
    if not ((taken > 0) & (taken < groups)).any():
        raise TooLittleData("a ranker needs queries with an item that was taken and one that was not")
    settings = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": ORDERED,
        "metric": "ndcg",
        "eval_at": [10],
        "num_leaves": leaves,
        "learning_rate": rate,
        "min_data_in_leaf": min_leaf,
        "max_bin": BINS,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(features, labels, group=groups, feature_name=list(names), params=settings)
    booster = lightgbm.Booster(settings, data)
    for tree in range(1, trees + 1):
        booster.update()
        if told and (tree % EVERY == 0 or tree == trees):
            told(tree, float(booster.eval_train()[0][2]))
    text = checked_text(booster.model_to_string().encode())
    return Ranker(tuple(names), text, lightgbm.__version__)
