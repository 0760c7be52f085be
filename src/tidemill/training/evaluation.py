"""How good a recommender is on days after everything that it learned from, beside 30-day popularity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import TooLittleData
from tidemill.core.records import Evaluation, RuleSet, Slice
from tidemill.models import EventFacts, Interactions, Recommender, SlateEngine, nearest, popular, unseen
from tidemill.models.low_pass import low_pass_vectors
from tidemill.training.intervals import intervals
from tidemill.training.measured import PROTOCOL, MeasuredUser, histories_codes, measured_users, sample
from tidemill.training.measures import coverage, diversity, novelty, per_user
from tidemill.training.time_split import TimeSplit

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

KS = (10, 20)
BASELINE_DAYS = 30
#: Users measured at most; more narrow the intervals no further than anybody needs.
USERS = 20_000


def bare_rules(recommender: Recommender, rules: RuleSet | None = None) -> RuleSet:
    """The rules to measure with: what a slate retrieves, without facts and own rules, of which the past knows nothing.

    Without `rules`: the nearest items and the most popular ones.
    """
    if rules is not None:
        fallback = rules.fallback or popular(days=BASELINE_DAYS)
        return RuleSet(retrieve=rules.retrieve, filter=(unseen(),), fallback=fallback)
    drawn = (nearest(200),) if len(recommender.parts()) > 1 else ()
    return RuleSet(retrieve=(*drawn, popular(days=90)), filter=(unseen(),), fallback=popular(days=BASELINE_DAYS))


def evaluate(
    recommender: Recommender,
    split: TimeSplit,
    *,
    model: str = "model",
    rules: RuleSet | None = None,
    validation: Sequence[dict[str, object]] = (),
) -> Evaluation:
    """Measure `recommender`, which was learned from `split.train` alone, through the slate that answers.

    Slices are all, warm (with history before the split) and cold users, the model beside 30-day popularity with paired
    95% intervals. Raises `TooLittleData` where no user has a later item.
    """
    if recommender.as_of > split.at or list(recommender.items) != list(split.train.items):
        raise ValueError("the recommender was not learned from the training days of this split")
    users = sample(measured_users(split), USERS)
    if not users:
        raise TooLittleData("no user has an unseen item after the split")
    facts = EventFacts(split.train.items, item=split.train.item, time=split.train.time, as_of=split.at)
    rule_set = bare_rules(recommender, rules)
    ranked = answers(SlateEngine(recommender, rule_set, facts), split.train, users)
    beside = popularity_answers(facts, split.train, users)
    item_vectors = low_pass_vectors(split.train, factors=32, smoothing=10.0).items
    return Evaluation(
        model=model,
        baseline=f"popularity over {BASELINE_DAYS} days",
        split_at=split.at,
        protocol=PROTOCOL,
        k=KS[0],
        slices=tuple(_slices(users, ranked, beside)),
        coverage=coverage(ranked, split.train.n_items, KS[0]),
        novelty=novelty(ranked, split.train, KS[0]),
        diversity=diversity(ranked, item_vectors, KS[0]),
        validation=tuple(validation),
    )


def answers(engine: SlateEngine, train: Interactions, users: Sequence[MeasuredUser]) -> list[I32]:
    """Ranked item codes of each user; the answer to an empty history is asked for once."""
    code_of = {item: code for code, item in enumerate(train.items)}
    cold: I32 | None = None
    ranked = []
    for user in users:
        if user.code < 0 and cold is not None:
            ranked.append(cold)
            continue
        codes, times = histories_codes(train, user)
        answer = engine.answer([train.items[code] for code in codes], times, max(KS))
        ranked.append(np.array([code_of[item] for item in answer.items], np.int32))
        if user.code < 0:
            cold = ranked[-1]
    return ranked


def popularity_answers(facts: EventFacts, train: Interactions, users: Sequence[MeasuredUser]) -> list[I32]:
    """The most taken unseen items of the last 30 days before the split, then of all time."""
    recent, ever = facts.counts(BASELINE_DAYS), facts.counts(None)
    chain = np.lexsort((np.arange(len(ever)), -ever, -recent)).astype(np.int32)
    ranked = []
    for user in users:
        seen, _ = histories_codes(train, user)
        top = chain[: max(KS) + len(seen)]
        ranked.append(top[~np.isin(top, seen)][: max(KS)])
    return ranked


def _slices(users: Sequence[MeasuredUser], ranked: Sequence[I32], beside: Sequence[I32]) -> list[Slice]:
    targets = [user.targets for user in users]
    model, baseline = per_user(ranked, targets, KS), per_user(beside, targets, KS)
    warm = np.array([user.code >= 0 for user in users])
    groups = {"all": np.ones(len(users), np.bool_), "warm": warm, "cold": ~warm}
    return [_slice(name, keep, model, baseline) for name, keep in groups.items() if keep.any()]


def _slice(name: str, keep: npt.NDArray[np.bool_], model: dict[str, F64], baseline: dict[str, F64]) -> Slice:
    columns = {("model", measure): values[keep] for measure, values in model.items()}
    columns |= {("baseline", measure): values[keep] for measure, values in baseline.items()}
    columns |= {("difference", measure): model[measure][keep] - baseline[measure][keep] for measure in model}
    found = intervals(columns)
    return Slice(
        users=name,
        n_users=int(keep.sum()),
        model={measure: found["model", measure] for measure in model},
        baseline={measure: found["baseline", measure] for measure in model},
        difference={measure: found["difference", measure] for measure in model},
    )
