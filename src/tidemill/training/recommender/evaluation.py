"""Evaluation of a recommender on days after its training data, compared with 30-day popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import TooLittleData
from tidemill.core.processes.single_thread import single_thread
from tidemill.core.records.quality import Evaluation, Exposure
from tidemill.core.records.release import RuleSet
from tidemill.models import EventFacts, Interactions, Recommender, SlateEngine, nearest, popular, unseen
from tidemill.models.learners.spectral import spectral_vectors
from tidemill.training.recommender.evaluation_targets import EvaluationTargets
from tidemill.training.recommender.evaluation_warnings import evaluation_warnings, on_both_sides, repeat_share
from tidemill.training.recommender.exposure import exposures
from tidemill.training.recommender.list_statistics import list_statistics
from tidemill.training.recommender.popularity_tiers import TIERS, tiers
from tidemill.training.recommender.protocol import Protocol
from tidemill.training.recommender.rankers import (
    ListRanker,
    PopularityRanker,
    RankedAnswers,
    SlateRanker,
    ranked_answers,
)
from tidemill.training.recommender.splits import TimeSplit
from tidemill.training.recommender.user_slices import cuts, slices_of
from tidemill.training.recommender.users_to_evaluate import (
    EvaluationUser,
    catalogue,
    digest,
    evaluation_users,
    sample,
)
from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.statistics.slices import worst

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

KS = (10, 20)
BASELINE_DAYS = 30
#: Maximum number of evaluated users; more would hardly narrow the intervals.
USERS = 20_000
#: The group of items without a group.
NO_GROUP = "no group"


@dataclass(frozen=True, eq=False)
class Measurement:
    """An evaluation with the metrics of each user, so that two evaluations can be compared in pairs."""

    evaluation: Evaluation
    #: sha256 over the evaluated users, the split and the targets: measurements with equal hashes can be paired.
    users: str
    #: Metric -> float64 (n_users), in the order of the users' ids.
    per_user: dict[str, F64]
    #: Group of users (`warm`, `cold`) -> bool (n_users) in the same order: the members of the group.
    groups: dict[str, Mask] = field(default_factory=dict)


def bare_rules(recommender: Recommender, rules: RuleSet | None = None) -> RuleSet:
    """The rules to evaluate with: the retrieval of a slate, without facts and custom rules, which have no history.

    Default: the nearest items and the most popular ones.
    """
    if rules is not None:
        fallback = rules.fallback or popular(days=BASELINE_DAYS)
        return RuleSet(retrieve=rules.retrieve, filter=(unseen(),), fallback=fallback)
    drawn = (nearest(200),) if len(recommender.names) > 1 else ()
    return RuleSet(retrieve=(*drawn, popular(days=90)), filter=(unseen(),), fallback=popular(days=BASELINE_DAYS))


def measure(
    recommender: Recommender,
    split: TimeSplit,
    *,
    model: str = "model",
    rules: RuleSet | None = None,
    validation: Sequence[dict[str, object]] = (),
    protocol: Protocol | None = None,
    groups: Mapping[str, str] | None = None,
    told: Sequence[str] = (),
) -> Measurement:
    """Evaluate `recommender`, which was trained on `split.train` alone, through the slate that serves it.

    The slices are all users, warm users (with history before the split) and cold users. Each compares the model with
    30-day popularity, with paired 95% intervals; finer slices follow. `groups` (item -> group, such as its category)
    adds slices and exposure by group; `told` are further warnings. Raises `TooLittleData` if no user has a later
    item, and `ValueError` for a recommender that was trained on other data.
    """
    if recommender.as_of > split.at or list(recommender.items) != list(split.train.items):
        raise ValueError("the recommender was not trained on the training days of this split")
    engine = SlateEngine(recommender, bare_rules(recommender, rules), facts_at(split))
    ranker = SlateRanker(engine, catalogue(split), model)
    return measure_ranker(ranker, split, validation=validation, protocol=protocol, groups=groups, told=told)


@single_thread()
def measure_ranker(
    ranker: ListRanker,
    split: TimeSplit,
    *,
    validation: Sequence[dict[str, object]] = (),
    protocol: Protocol | None = None,
    groups: Mapping[str, str] | None = None,
    told: Sequence[str] = (),
) -> Measurement:
    """Evaluate any ranker, as `measure` does; `told` are warnings about it.

    Raises `ValueError` for a split by time whose train overlaps its test.
    """
    protocol = _agreed(protocol, split)
    users = sample(evaluation_users(split, protocol), USERS)
    if not users:
        raise TooLittleData("no user has an unseen item after the split")
    if overlap := on_both_sides(split):
        raise ValueError(f"the split's train overlaps its test: {overlap[0]}")
    answered = ranked_answers(ranker, users, max(KS))
    baseline = ranked_answers(PopularityRanker(facts_at(split), BASELINE_DAYS), users, max(KS))
    items = catalogue(split)
    targets = EvaluationTargets.from_lists(users, answered.lists, baseline.lists)
    counts = np.bincount(split.train.item, minlength=split.train.n_items)
    named = None if groups is None else [groups.get(item) or NO_GROUP for item in items]
    resamples = Bootstrap(targets.n_users)
    main, finer = cuts(users, targets, counts, len(items), named)
    slices, parts = slices_of(targets, main, finer, KS, resamples)
    vectors = spectral_vectors(split.train, factors=32, smoothing=10.0).items
    kinds = list_statistics(answered.lists, split.train, KS[0], vectors)
    evaluation = Evaluation(
        model=ranker.name,
        baseline=f"popularity over {BASELINE_DAYS} days",
        split_at=split.at,
        protocol=protocol.words(),
        k=KS[0],
        slices=slices,
        coverage=kinds.coverage,
        novelty=kinds.novelty,
        diversity=kinds.diversity,
        validation=tuple(validation),
        conventions=protocol.conventions(),
        parts=parts,
        worst=worst(parts, f"ndcg@{KS[0]}", of="users", against="by the baseline"),
        n_questions=len(users),
        cold_targets=float((targets.code >= split.train.n_items).mean()),
        repeats=repeat_share(split, within=protocol.history == "earlier"),
        lists={
            "model": kinds,
            "baseline": list_statistics(baseline.lists, split.train, KS[0], vectors),
            "taken": list_statistics([user.targets for user in users], split.train, None),
        },
        exposure=_exposure(targets, counts, len(items), named, (answered.lists, baseline.lists), resamples),
        warnings=(*told, *_of_lists(answered, len(users)), *evaluation_warnings(split, users, slices[0], KS[0])),
    )
    who = digest(users, items, split.at, protocol)
    return Measurement(evaluation, who, targets.figures(None, KS)[1], _groups(users, targets))


def _groups(users: Sequence[EvaluationUser], targets: EvaluationTargets) -> dict[str, Mask]:
    """Masks of warm and cold users, as in the slices; empty groups are left out."""
    warm = np.zeros(targets.n_users, np.bool_)
    warm[targets.user] = [user.code >= 0 for user in users]
    return {name: mask for name, mask in (("warm", warm), ("cold", ~warm)) if mask.any()}


def _agreed(protocol: Protocol | None, split: TimeSplit) -> Protocol:
    """The protocol for the split; leave-one-out supports only one."""
    if split.kind == "leave-one-out":
        return Protocol("earlier", "last", split.kind)
    protocol = protocol or Protocol()
    return Protocol(protocol.history, protocol.target)


def _exposure(
    targets: EvaluationTargets,
    counts: npt.NDArray[np.int64],
    n_catalogue: int,
    named: Sequence[str] | None,
    lists: tuple[Sequence[I32], Sequence[I32]],
    resamples: Bootstrap,
) -> tuple[Exposure, ...]:
    tier = [TIERS[number] for number in tiers(counts, n_catalogue).tolist()]
    found = exposures("popularity", tier, targets, lists, KS[0], resamples)
    return found if named is None else (*found, *exposures("group", named, targets, lists, KS[0], resamples))


def _of_lists(answered: RankedAnswers, n: int) -> list[str]:
    """Warnings about the lists themselves."""
    places = max(1, sum(len(one) for one in answered.lists) + answered.seen + answered.repeated)
    found = []
    if answered.missing:
        share = answered.missing / n
        found.append(f"{answered.missing:,} of {n:,} queries ({share:.1%}) have no list and count as misses")
    if answered.seen:
        share = answered.seen / places
        found.append(f"{share:.1%} of the positions held an item that the user already had; they were dropped")
    if answered.repeated:
        share = answered.repeated / places
        found.append(f"{share:.1%} of the positions repeated an item of the same list; they were dropped")
    return found


def facts_at(split: TimeSplit) -> EventFacts:
    """Counts of the training events as of the split."""
    return EventFacts(split.train.items, item=split.train.item, time=split.train.time, as_of=split.at)


def answers(engine: SlateEngine, train: Interactions, users: Sequence[EvaluationUser]) -> list[I32]:
    """Ranked item codes of the slate for each user; the list for an empty history is computed once."""
    ranker = SlateRanker(engine, train.items)
    return [ranker.rank(user, max(KS)) for user in users]
