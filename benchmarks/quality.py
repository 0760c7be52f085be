"""Quality on real reviews: every learner beside 30-day popularity, with paired 95% intervals over users.

    python benchmarks/quality.py [--data FOLDER] [--split 2017-06-01] [LEARNER …]

Amazon Magazine ratings, the latest rating of each user for each item. Train ends before the split, test starts at it;
settings are chosen on validation days before it. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from tidemill import models
from tidemill.core.clock import micros
from tidemill.core.records import Evaluation, Metric
from tidemill.models import Interactions
from tidemill.training import train_recommender

ROOT = Path(__file__).resolve().parent.parent
LEARNERS = {
    "cooccurrence": models.cooccurrence(),
    "item_knn": models.item_knn(),
    "spectral": models.spectral(),
    "popularity": models.popularity(days=30),
}
SHOWN = ("hit_rate@10", "ndcg@10", "recall@10", "hit_rate@20", "ndcg@20", "recall@20")


def magazine(folder: Path) -> Interactions:
    """The latest rating of each user for each item, ties by the line's number."""
    names = ["item_id", "user_id", "rating", "unix_s"]
    file = folder / "amazon" / "Magazine_Subscriptions_ratings_2018.csv.gz"
    lines = csv.read_csv(file, read_options=csv.ReadOptions(column_names=names))
    return latest_ratings(lines)


def latest_ratings(lines: pa.Table) -> Interactions:
    events = lines.select(["item_id", "user_id"])
    events = events.append_column("at", pa.array(np.asarray(lines["unix_s"]) * 1_000_000))
    events = events.append_column("_row", pa.array(np.arange(lines.num_rows)))
    newest = events.sort_by([("at", "descending"), ("_row", "descending")])
    first = newest.group_by(["user_id", "item_id"], use_threads=False).aggregate([("at", "first"), ("_row", "first")])
    return Interactions.from_arrow(first, user="user_id", item="item_id", time="at_first", row="_row_first")


def shown(metric: Metric) -> str:
    return f"{metric.value:.3f} [{metric.low:+.3f}, {metric.high:+.3f}]"


def show(evaluation: Evaluation) -> None:
    for part in evaluation.slices:
        print(f"  {part.users} users ({part.n_users})")
        for name in SHOWN:
            print(
                f"    {name:12} {shown(part.model[name]):26} popularity {shown(part.baseline[name]):26}"
                f" difference {shown(part.difference[name])}"
            )
    print(
        f"  coverage {evaluation.coverage:.3f}, novelty {evaluation.novelty:.2f} bits, "
        f"diversity {evaluation.diversity:.3f}, {len(evaluation.validation)} settings tried on validation days"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learners", nargs="*", default=list(LEARNERS), metavar="LEARNER")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    parser.add_argument("--split", type=datetime.fromisoformat, default=datetime(2017, 6, 1))
    asked = parser.parse_args()
    if not (asked.data / "amazon").is_dir():
        sys.exit(f"no real data in {asked.data}: give --data or TIDEMILL_TEST_DATA")
    events = magazine(asked.data)
    print(f"{len(events)} ratings, {events.n_users} users, {events.n_items} items; split at {asked.split:%Y-%m-%d}")
    for name in asked.learners:
        before = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            result = train_recommender(
                events,
                LEARNERS[name],
                model=name,
                as_of=int(events.time.max()) + 1,
                folder=Path(folder) / "bundle",
                at=micros(asked.split.replace(tzinfo=UTC)),
            )
        print(f"\n{name}: {time.process_time() - before:.1f} CPU s, {result.parameters}")
        if result.evaluation:
            show(result.evaluation)


if __name__ == "__main__":
    main()
