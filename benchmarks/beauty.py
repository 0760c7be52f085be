"""Amazon Beauty 2014, a global time split: HR@10 and NDCG@10 of the last event, and what they cost in CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/beauty.py [--data FOLDER] [--validation] [MODEL …]

The protocol is that of "Time to Split" (arXiv 2507.16289): T is the 0.9 quantile of the timestamps, models are trained
on events until T and are not refreshed, the full catalogue is ranked, seen items are dropped, targets without a
training event are misses. Evaluated are the 6,110 users whose last event lies after T, twice: with every earlier event
as history, also those after T (what the published figures were measured with), and with events until T alone. Events at
the same time keep the order of the file. No model uses the time of the request: item counts and ages are those at T.

Everything goes through the product's own classes: `learn`, and the slate that answers. Settings are in the code;
those of the blend were chosen on windows before T, which `--validation` measures: T is moved to the 0.9 quantile of
what lies before it, once and once more. Intervals are 95% over users.

Published for "earlier", HR@10/NDCG@10: SASRec .0633/.0369, BERT4Rec .0403/.0220, GRU4Rec .0362/.0201 (validated by
user; SASRec's own file validated by time gives .0416/.0240), untuned EASE .0514/.0281, item-kNN .0444/.0264, 30-day
popularity .0061/.0027.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv

from tidemill.core.records.release import RuleSet
from tidemill.models import (
    Ease,
    Interactions,
    ItemKnn,
    LearnerSpec,
    Popularity,
    Recommender,
    SlateEngine,
    blend,
    learn,
    nearest,
    popular,
    unseen,
)
from tidemill.models.learners.blend import blended
from tidemill.training.recommender.evaluation import facts_at
from tidemill.training.recommender.protocol import History, Protocol
from tidemill.training.recommender.rankers import SlateRanker, ranked_answers
from tidemill.training.recommender.ranking_metrics import per_user
from tidemill.training.recommender.splits import TimeSplit, split_at
from tidemill.training.recommender.users_to_evaluate import catalogue, evaluation_users
from tidemill.training.statistics.ratio_estimate import mean_interval

ROOT = Path(__file__).resolve().parent.parent
K, SHARE = 10, 0.9
ALONE = {"popularity_share": 0.0, "spectral_share": 0.0, "factors": 0}


def models() -> dict[str, LearnerSpec]:
    members = blended()
    return {
        "popularity": Popularity(days=30),
        "item_knn": ItemKnn(**ALONE, shrinkage=10.0, neighbours=200, recency="365 days"),
        "cooccurrence": msgspec.structs.replace(members["session"], popularity_share=0.0),
        "ease": Ease(l2=200.0, popularity_share=0.0, recency="100000 days"),
        "blend": blend(),
    }


def read(file: Path) -> Interactions:
    table = pyarrow.csv.read_csv(file)
    ids = {name: table[name].cast(pa.string()) for name in ("user", "item")}
    table = pa.table(ids | {"time": pa.array(np.asarray(table["unix_ts"]) * 1_000_000), "pos": table["pos"]})
    return Interactions.from_arrow(table, user="user", item="item", time="time", row="pos")


def splits(events: Interactions, validation: bool) -> Iterator[tuple[str, TimeSplit]]:
    """The test split, or the two before it; train holds the events at T, test those after it."""
    ends = [int(np.quantile(events.time, SHARE, method="lower"))]
    for _ in range(2 if validation else 0):
        ends.append(int(np.quantile(events.time[events.time <= ends[-1]], SHARE, method="lower")))
    if not validation:
        yield "test", split_at(events, ends[0] + 1)
    for number, (until, at) in enumerate(pairwise(ends)):
        yield f"validation {number + 1}", split_at(events, at + 1, until=until + 1)


def measured(recommender: Recommender, split: TimeSplit, history: History) -> tuple[int, dict[str, np.ndarray], float]:
    """How many users, each one's figures, and CPU seconds of answering them all."""
    users = evaluation_users(split, Protocol(history, "last"))
    # What draws is the model; popularity draws for itself.
    draws = nearest(200) if recommender.parts else popular(days=30)
    rules = RuleSet(retrieve=(draws,), filter=(unseen(),), fallback=popular(days=30))
    engine = SlateEngine(recommender, rules, facts_at(split))
    before = time.process_time()
    lists = ranked_answers(SlateRanker(engine, catalogue(split)), users, K).lists
    spent = time.process_time() - before
    return len(users), per_user(lists, [user.targets for user in users], (K,)), spent


def report(split: TimeSplit, names: list[str]) -> None:
    assert split.train.time.max() < split.test.time.min()
    spent: dict[str, float] = {}
    for name in names:
        before = time.process_time()
        recommender = learn(models()[name], split.train, split.at)
        spent[name] = time.process_time() - before
        print(f"\n{name}: trained in {spent[name]:.1f} CPU s", flush=True)
        for history in ("earlier", "before"):
            n, figures, answering = measured(recommender, split, history)
            told = {measure: mean_interval(figures[measure]) for measure in (f"hit_rate@{K}", f"ndcg@{K}")}
            shown = ", ".join(
                f"{measure} {one.value:.4f} [{one.low:.4f}, {one.high:.4f}]" for measure, one in told.items()
            )
            print(f"    history {history:7} {n} users: {shown}; {answering / n * 1e6:.0f} CPU µs an answer", flush=True)
    if "ease" in spent:
        for name, seconds in spent.items():
            print(f"{name}: {seconds / spent['ease']:.2f} times the CPU of learning EASE")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    parser.add_argument("--validation", action="store_true", help="measure on two windows before T instead")
    given = parser.parse_args()
    if unknown := sorted(set(given.models) - set(models())):
        sys.exit(f"no model {unknown[0]}; there are {', '.join(models())}")
    file = given.data / "amazon/beauty_5core_2014_events.csv.gz"
    if not file.is_file():
        sys.exit(f"no real data in {given.data}: give --data or TIDEMILL_TEST_DATA")
    events = read(file)
    for name, split in splits(events, given.validation):
        print(f"\n{name}: {len(split.train)} events until T, {len(split.test)} after it", flush=True)
        report(split, given.models or list(models()))


if __name__ == "__main__":
    main()
