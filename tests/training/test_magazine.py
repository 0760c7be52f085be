"""Real reviews: the default learner beats 30-day popularity for users with a history, and says so for all others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest

from tidemill import models
from tidemill.backends.faiss_search import FaissSearch
from tidemill.core.clock import to_micros
from tidemill.models import Interactions
from tidemill.training import train_recommender

SPLIT = to_micros(datetime(2017, 6, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def ratings(magazine: Path) -> Interactions:
    """The latest rating of each user for each item, ties by the line's number."""
    names = ["item_id", "user_id", "rating", "unix_s"]
    lines = csv.read_csv(magazine, read_options=csv.ReadOptions(column_names=names))
    at, row = np.asarray(lines["unix_s"]), np.arange(lines.num_rows)
    newest = lines.select(["item_id", "user_id"]).append_column("at", pa.array(at * 1_000_000))
    newest = newest.append_column("_row", pa.array(row)).take(pa.array(np.lexsort((row, at))[::-1].copy()))
    one = newest.group_by(["user_id", "item_id"], use_threads=False).aggregate([("at", "first"), ("_row", "first")])
    return Interactions.from_arrow(one, user="user_id", item="item_id", time="at_first", row="_row_first")


@pytest.mark.slow
def test_the_default_learner_beats_popularity_for_warm_users(ratings: Interactions, tmp_path: Path) -> None:
    assert len(ratings) == 88_318
    result = train_recommender(
        ratings,
        models.cooccurrence(),
        model="for_you",
        as_of=int(ratings.time.max()) + 1,
        folder=tmp_path / "bundle",
        search=FaissSearch(),
        at=SPLIT,
    )
    assert result.evaluation is not None
    for part in result.evaluation.slices:
        found, beside, difference = (kind["hit_rate@10"] for kind in (part.model, part.baseline, part.difference))
        print(
            f"{part.users}: {part.n_users} users, HR@10 {found.value:.3f}, popularity {beside.value:.3f}, "
            f"difference {difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
        )
    slices = {part.users: part for part in result.evaluation.slices}
    assert slices["warm"].n_users == 563
    assert slices["warm"].difference["hit_rate@10"].low > 0
    assert slices["all"].n_users == 7_600
    assert result.evaluation.validation, "settings were chosen on validation days"
    assert result.index_recall is not None
    assert result.index_recall >= 0.95
