"""Gowalla, the LightGCN split: recall@20 and NDCG@20 over the full catalogue, and what they cost in CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/gowalla.py [--data FOLDER] [MODEL …]

`spectral` and `auto` are `tm.spectral()` and `tm.auto()` without a setting: what is learned is chosen by
`tidemill.training.choose`; `spectral` scores as served, `auto` is asked for its slates. For the other models settings
are chosen from a few: a fifth of each user's items in train is held out, drawn with a seed, and 4,000 users are
evaluated. Then each model is trained on all of train and reported once on test, with 95% intervals over users.
Everybody's vector is folded in from the history, as when answering; items of the history are left out. The catalogue
is too large for `ease`, which says so. CPU seconds are those of the process and its children.

Published, Recall@20/NDCG@20: LightGCN .1830/.1554, UltraGCN .1862/.1580, SimpleX .1872/.1557, GF-CF .1849/.1518,
EASE .1765/.1467, SLIM .1699/.1382, ItemCF .1570/.1214, MF-BPR .1627/.1378.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from tidemill import models
from tidemill.core.errors import TidemillError
from tidemill.models import EventFacts, Interactions, LearnerSpec, SlateEngine, learn
from tidemill.models.learners.als import als_factors
from tidemill.models.learners.ease import ease_lists
from tidemill.models.learners.item_knn import cosine_matrix
from tidemill.models.learners.learning import user_vectors
from tidemill.models.learners.user_item_matrix import user_item_matrix
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.training import choose
from tidemill.training.recommender.evaluation import bare_rules
from tidemill.training.recommender.ranking_metrics import per_user
from tidemill.training.statistics.ratio_estimate import mean_interval

ROOT = Path(__file__).resolve().parent.parent
K, BATCH, CHOOSERS, HELD_SHARE, SEED = 20, 1_000, 4_000, 0.2, 0

#: Scores float32 (len(users), n_items) of users by code.
Scores = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Model:
    """What is learned from events with settings, and the settings to choose from; or a learner that has its own."""

    fit: Callable[..., Scores]
    settings: tuple[dict[str, Any], ...]
    learner: LearnerSpec | None = None


def spectral(events: Interactions, **settings: Any) -> Scores:
    """The scores that `tm.spectral` serves."""
    recommender = learn(models.spectral(**settings), events, int(events.time.max()) + 1)
    part, prior = recommender.parts["spectral"], recommender.prior
    assert part.vectors is not None
    items = part.vectors.items

    def scores(users: np.ndarray) -> np.ndarray:
        relevance = np.maximum(user_vectors(part, events, users) @ items.T, 0)
        relevance /= np.maximum(relevance.max(axis=1, keepdims=True), 1e-30)
        return (1 - prior.share) * relevance + prior.share * recommender.popularity

    return scores


def auto(events: Interactions, *, spec: LearnerSpec) -> Scores:
    """Scores that rank as the slates of the chosen learner."""
    at = int(events.time.max()) + 1
    recommender = learn(spec, events, at)
    facts = EventFacts(events.items, item=events.item, time=events.time, as_of=at)
    engine = SlateEngine(recommender, bare_rules(recommender), facts)
    code_of = {item: code for code, item in enumerate(events.items)}

    def scores(users: np.ndarray) -> np.ndarray:
        table = np.zeros((len(users), events.n_items), np.float32)
        for row, user in zip(table, users, strict=True):
            items, times = events.history(int(user))
            answer = engine.answer([events.items[code] for code in items.tolist()], times.tolist(), K)
            row[[code_of[item] for item in answer.items]] = np.arange(len(answer.items), 0, -1)
        return table

    return scores


def item_knn(events: Interactions, *, shrinkage: float, neighbours: int) -> Scores:
    lists = ItemLists.from_matrix(cosine_matrix(events, shrinkage=shrinkage), neighbours).matrix()
    histories = user_item_matrix(events)
    return lambda users: (histories[users] @ lists).toarray()


def als(events: Interactions, **settings: Any) -> Scores:
    factors = als_factors(events, iterations=15, **settings)
    histories = user_item_matrix(events)
    return lambda users: factors.users(histories[users]) @ factors.items.T


def ease(events: Interactions, *, l2: float) -> Scores:
    lists = ease_lists(events, l2=l2, neighbours=300).matrix()
    histories = user_item_matrix(events)
    return lambda users: (histories[users] @ lists).toarray()


MODELS = {
    "spectral": Model(spectral, (), models.spectral()),
    "auto": Model(auto, (), models.auto()),
    "item_knn": Model(
        item_knn,
        tuple({"shrinkage": shrinkage, "neighbours": n} for shrinkage in (10.0, 50.0) for n in (100, 300)),
    ),
    "als_as_it_comes": Model(als, ({"factors": 64, "regularization": 0.01, "confidence": 0.0},)),
    "als": Model(
        als,
        tuple(
            {"factors": d, "regularization": l2, "confidence": confidence}
            for d, l2, confidence in ((64, 0.1, 10.0), (64, 10.0, 10.0), (64, 10.0, 40.0), (256, 10.0, 10.0))
        ),
    ),
    "ease": Model(ease, ({"l2": 500.0},)),
}


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """User and item codes of `user item item …` a line."""
    with gzip.open(file, "rt") as lines:
        rows = [np.array(line.split(), np.int32) for line in lines]
    return np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows]), np.concatenate(
        [row[1:] for row in rows]
    )


def interactions(users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> Interactions:
    """The split has no times: all events have the same one, and keep their order."""
    order = np.argsort(users, kind="stable")
    names = [str(code) for code in range(max(n_users, n_items))]
    times = np.zeros(len(users), np.int64)
    return Interactions(names[:n_users], names[:n_items], users[order].astype(np.int32), items[order], times)


def held_out(events: Interactions) -> tuple[Interactions, Interactions]:
    """A fifth of each user's items, drawn with a seed, and the rest."""
    drawn = np.random.default_rng(SEED).random(len(events))
    order = np.lexsort((drawn, events.user))
    rank = np.empty(len(events), np.int64)
    rank[order] = np.arange(len(events)) - events.starts[events.user]
    held = rank < np.floor(np.diff(events.starts) * HELD_SHARE)[events.user]
    n_users, n_items = events.n_users, events.n_items
    rest, part = (interactions(events.user[keep], events.item[keep], n_users, n_items) for keep in (~held, held))
    return rest, part


def measured(scores: Scores, seen: sp.csr_matrix, wanted: sp.csr_matrix, users: np.ndarray) -> dict[str, np.ndarray]:
    """`recall@20` and `ndcg@20` of each user."""
    ranked: list[np.ndarray] = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        table = scores(batch)
        table[seen[batch].nonzero()] = -np.inf
        best = np.argpartition(-table, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(table, best, axis=1), axis=1, kind="stable")
        ranked += list(np.take_along_axis(best, order, axis=1).astype(np.int32))
    targets = [wanted.indices[wanted.indptr[user] : wanted.indptr[user + 1]] for user in users]
    return per_user(ranked, targets, [K])


def chosen(model: Model, train: Interactions) -> tuple[dict[str, Any], float]:
    """The settings with the best mean of recall and NDCG on the held-out part of train, and the CPU seconds it took."""
    before = cpu_s()
    if model.learner is not None:
        choice = choose(model.learner, train, progress=told)
        spent = cpu_s() - before
        for note in choice.notes:
            print(f"    {note}")
        return {"spec": choice.spec} if model.fit is auto else choice.spec.settings(), spent
    if len(model.settings) == 1:
        return model.settings[0], 0.0
    rest, part = held_out(train)
    seen, wanted = user_item_matrix(rest), user_item_matrix(part)
    users = np.flatnonzero(np.diff(wanted.indptr))
    users = np.sort(np.random.default_rng(SEED).choice(users, min(CHOOSERS, len(users)), replace=False))
    best, top = model.settings[0], -1.0
    for settings in model.settings:
        found = measured(model.fit(rest, **settings), seen, wanted, users)
        recall, ndcg = found[f"recall@{K}"].mean(), found[f"ndcg@{K}"].mean()
        print(f"    on a part of train {recall:.4f}/{ndcg:.4f} {settings}", flush=True)
        if recall + ndcg > top:
            best, top = settings, recall + ndcg
    return best, cpu_s() - before


def cpu_s() -> float:
    """CPU seconds of this process and the children that have ended."""
    return sum(os.times()[:4])


def told(step: str, figures: dict[str, Any]) -> None:
    print(f"    {step} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    asked = parser.parse_args()
    if unknown := sorted(set(asked.models) - set(MODELS)):
        sys.exit(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    folder = asked.data / "gowalla"
    if not folder.is_dir():
        sys.exit(f"no real data in {asked.data}: give --data or TIDEMILL_TEST_DATA")
    train, test = read(folder / "train.txt.gz"), read(folder / "test.txt.gz")
    n_users, n_items = (int(max(one.max(), other.max())) + 1 for one, other in zip(train, test, strict=True))
    events, later = interactions(*train, n_users, n_items), interactions(*test, n_users, n_items)
    seen, wanted = user_item_matrix(events), user_item_matrix(later)
    users = np.flatnonzero(np.diff(wanted.indptr))
    print(f"{n_users} users, {n_items} items, {len(events)} events in train, {len(later)} in test")
    spent: dict[str, float] = {}
    for name in asked.models or MODELS:
        print(f"\n{name}", flush=True)
        try:
            settings, choice_s = chosen(MODELS[name], events)
            before = cpu_s()
            scores = MODELS[name].fit(events, **settings)
        except TidemillError as refused:
            print(f"    {refused}")
            continue
        fit_s = cpu_s() - before
        found = measured(scores, seen, wanted, users)
        spent[name] = cpu_s() - before
        figures = {measure: mean_interval(found[measure]) for measure in (f"recall@{K}", f"ndcg@{K}")}
        for measure, figure in figures.items():
            print(f"    test {measure:9} {figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]")
        print(f"    {settings}")
        print(f"    CPU s: fit {fit_s:.1f}, scoring all users {spent[name] - fit_s:.1f}, choice {choice_s:.0f} besides")
    if "als_as_it_comes" in spent:
        for name, seconds in spent.items():
            print(f"{name}: {seconds / spent['als_as_it_comes']:.2f} times the CPU of `implicit` ALS as it comes")


if __name__ == "__main__":
    main()
