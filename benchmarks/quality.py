"""Quality on real ratings: every learner compared with popularity, with paired 95% intervals over users.

    python benchmarks/quality.py [--data-set magazine|movielens] [--data FOLDER] [--split 2017-06-01] [LEARNER …]

The data sets: Amazon Magazine ratings, the latest one of each user for each item; MovieLens-100k, every rating an
event. Train ends before the split, test starts at it. Settings are chosen on validation days before it, and so is the
window of the popularity that a learner has to beat; the other windows are shown too. Warm users have an event in train,
cold ones none; items that came after the split can be right for nobody. Times are CPU
seconds, children included.

MovieLens lets people in for a month or two: a user rates a hundred films in a sitting, few come back, and new films are
what the ones who do take. Under a split by time half of the users are cold and the last weeks' popularity is hard to
beat; a split that leaves out random ratings hides both.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from tidemill import models
from tidemill.core.clock import to_micros
from tidemill.core.errors import TidemillError
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.models import Interactions
from tidemill.training import Measurement, TimeSplit, choose, evaluation_users, measure, measure_ranker, split_at
from tidemill.training.recommender.evaluation import facts_at
from tidemill.training.recommender.rankers import PopularityRanker
from tidemill.training.recommender.splits import validation_splits
from tidemill.training.statistics.ratio_estimate import mean_interval

ROOT = Path(__file__).resolve().parent.parent
LEARNERS = {
    "popularity": models.popularity(days=30),
    "item_knn": models.item_knn(),
    "cooccurrence": models.cooccurrence(),
    "cooccurrence_of_late": models.cooccurrence(trend=1.0, trend_days=30),
    "transitions": models.transitions(),
    "spectral": models.spectral(),
    "ease": models.ease(),
    "als": models.als(),
    "auto": models.auto(minutes=5),
}
#: Popularity over so many days.
WINDOWS = (7, 30, 90, 365)
SHOWN = ("hit_rate@10", "ndcg@10", "recall@20")


@dataclass(frozen=True)
class DataSet:
    """How it is read from the data folder, and where it is split: a day, or where so many of the events have been."""

    read: Callable[[Path], Interactions]
    split: datetime | None


def magazine(folder: Path) -> Interactions:
    """The latest rating of each user for each item, ties by the line's number."""
    names = ["item_id", "user_id", "rating", "unix_s"]
    file = folder / "amazon" / "Magazine_Subscriptions_ratings_2018.csv.gz"
    return latest_ratings(csv.read_csv(file, read_options=csv.ReadOptions(column_names=names)))


def movielens(folder: Path) -> Interactions:
    """Every rating, of any value: the event is that a user saw a film."""
    names = ["user_id", "item_id", "rating", "unix_s"]
    reading = csv.ReadOptions(column_names=names)
    lines = csv.read_csv(folder / "movielens-100k" / "u.data", reading, csv.ParseOptions(delimiter="\t"))
    return latest_ratings(lines)


def latest_ratings(lines: pa.Table) -> Interactions:
    events = pa.table({name: lines[name].cast(pa.string()) for name in ("item_id", "user_id")})
    events = events.append_column("at", pa.array(np.asarray(lines["unix_s"]) * 1_000_000))
    events = events.append_column("_row", pa.array(np.arange(lines.num_rows)))
    newest = events.sort_by([("at", "descending"), ("_row", "descending")])
    first = newest.group_by(["user_id", "item_id"], use_threads=False).aggregate([("at", "first"), ("_row", "first")])
    return Interactions.from_arrow(first, user="user_id", item="item_id", time="at_first", row="_row_first")


DATA_SETS = {"magazine": DataSet(magazine, datetime(2017, 6, 1)), "movielens": DataSet(movielens, None)}


def popularity(split: TimeSplit, days: int) -> Measurement:
    return measure_ranker(PopularityRanker(facts_at(split), days), split)


def chosen_window(train: Interactions) -> int:
    """The popularity that does best for warm users of the validation days, by what learners are chosen by."""
    figures = {}
    for days in WINDOWS:
        rows = []
        for split in validation_splits(train):
            found = popularity(split, days).per_user
            rows.append(((found["hit_rate@10"] + found["ndcg@10"]) / 2)[warm(split)])
        figures[days] = float(np.concatenate(rows).mean())
    told = ", ".join(f"{days} days {figure:.4f}" for days, figure in figures.items())
    print(f"popularity on validation days, warm users, mean of HR@10 and NDCG@10: {told}")
    return max(WINDOWS, key=lambda days: figures[days])


def warm(split: TimeSplit) -> np.ndarray:
    """Which of the measured users have an event in train."""
    return np.array([user.code >= 0 for user in evaluation_users(split)])


def shown(metric: Metric) -> str:
    return f"{metric.value:.3f} [{metric.low:+.3f}, {metric.high:+.3f}]"


def show(found: Measurement, beside: Mapping[int, Measurement], best: int, split: TimeSplit) -> None:
    """The model's figures, and its paired difference against each popularity."""
    groups = {"warm users": warm(split), "cold users": ~warm(split)}
    for group, keep in groups.items():
        if not keep.any():
            continue
        columns = {("model", 0, name): found.per_user[name][keep] for name in SHOWN}
        for days, other in beside.items():
            columns |= {("against", days, name): (found.per_user[name] - other.per_user[name])[keep] for name in SHOWN}
        figures = {name: mean_interval(values) for name, values in columns.items()}
        print(f"  {group} ({int(keep.sum())})")
        for name in SHOWN:
            print(f"    {name:12} {shown(figures['model', 0, name])}")
            told = (
                f"{days} days{'*' if days == best else ''} {shown(figures['against', days, name])}" for days in beside
            )
            print(f"      minus popularity over {'; '.join(told)}")
    show_lists(found.evaluation)


def show_lists(evaluation: Evaluation) -> None:
    for part in evaluation.parts:
        if part.family == "target" and "ndcg@10" in part.model:
            print(f"  targets {part.users}: {part.n_users} users, NDCG@10 {shown(part.model['ndcg@10'])}")
    print(
        f"  coverage {evaluation.coverage:.3f}, novelty {evaluation.novelty:.2f} bits, "
        f"diversity {evaluation.diversity:.3f}, {len(evaluation.validation)} settings tried on validation days"
    )


def measured(names: Sequence[str], split: TimeSplit) -> None:
    best = chosen_window(split.train)
    print(f"the popularity to beat, chosen there: {best} days, marked *")
    beside = {days: popularity(split, days) for days in WINDOWS}
    for name in names:
        before = sum(os.times()[:4])
        try:
            choice = choose(LEARNERS[name], split.train)
            made = models.learn(choice.spec, split.train, split.at)
        except TidemillError as refused:
            print(f"\n{name}: {refused}")
            continue
        spent = sum(os.times()[:4]) - before
        found = measure(made, split, model=name, validation=choice.tried)
        print(f"\n{name}: {spent:.1f} CPU s to choose and learn, {choice.spec.settings()}")
        show(found, beside, best, split)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learners", nargs="*", metavar="LEARNER")
    parser.add_argument("--data-set", choices=list(DATA_SETS), default="magazine")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    parser.add_argument("--split", type=datetime.fromisoformat, help="a day; by default one that fits the data set")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.learners) - set(LEARNERS)):
        sys.exit(f"no learner {unknown[0]}; there are {', '.join(LEARNERS)}")
    if not asked.data.is_dir():
        sys.exit(f"no real data in {asked.data}: give --data or TIDEMILL_TEST_DATA")
    data_set = DATA_SETS[asked.data_set]
    events = data_set.read(asked.data)
    day = asked.split or data_set.split
    split = split_at(events, to_micros(day.replace(tzinfo=UTC)) if day else None)
    at = datetime.fromtimestamp(split.at / 1e6, UTC)
    print(f"{len(events)} ratings, {events.n_users} users, {events.n_items} items; split at {at:%Y-%m-%d %H:%M}")
    measured(asked.learners or list(LEARNERS), split)


if __name__ == "__main__":
    main()
