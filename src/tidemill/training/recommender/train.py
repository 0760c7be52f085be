"""Training of a recommender: choose on validation days, evaluate on the days after the split, refit on all days."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidemill.core.errors import RecallBelowTarget, TooLittleData
from tidemill.core.ports import VectorSearch
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.release import RuleSet, Sample
from tidemill.models import (
    Interactions,
    LearnerSpec,
    Recommender,
    check_parts,
    learn,
    open_recommender,
    write_recommender,
)
from tidemill.models.counts.engine_counts import EngineEvents
from tidemill.models.learners.incremental_refresh import count_all
from tidemill.models.learners.learner import Progress
from tidemill.models.learners.learning import silent, user_vectors
from tidemill.models.recommender.exact_search import recall
from tidemill.models.recommender.interactions import F32
from tidemill.models.recommender.model_part import ModelPart
from tidemill.training.recommender.choose_settings import choose
from tidemill.training.recommender.evaluation import Measurement, measure
from tidemill.training.recommender.splits import split_at
from tidemill.training.search.choice_result import ChoiceResult
from tidemill.training.search.search_budget import DEFAULT_BUDGET, SearchBudget

#: Minimum recall of an index on real user vectors: the share of the true nearest items at the candidate pool's size.
RECALL_TARGET, POOL, SAMPLED = 0.95, 200, 300


@dataclass(frozen=True)
class TrainResult:
    """The result of a training: the folder for the bundle, and the facts for the model card."""

    folder: Path
    recommender: Recommender
    #: `None` if there are too few days or users for an evaluation; `note` has the reason.
    evaluation: Evaluation | None
    #: The evaluation with the metrics of each user.
    measurement: Measurement | None
    learner: str
    #: The chosen settings of the learner.
    parameters: dict[str, Any]
    n_rows: int
    n_users: int
    n_items: int
    as_of: int
    #: What was read, if that was not everything.
    sample: Sample | None
    #: Recall of the index at the candidate pool's size; `None` without an index.
    index_recall: float | None
    note: str | None = None
    #: `note`, and notes about the choice of settings.
    notes: tuple[str, ...] = ()
    #: The number of the selected trial; with several learners it need not have the largest value.
    best: int | None = None


def train_recommender(
    interactions: Interactions,
    spec: LearnerSpec,
    *,
    model: str,
    as_of: int,
    folder: Path,
    rules: RuleSet | None = None,
    search: VectorSearch | None = None,
    at: int | None = None,
    effort: SearchBudget = DEFAULT_BUDGET,
    progress: Progress = silent,
    whole: EngineEvents | None = None,
    share: float = 1.0,
) -> TrainResult:
    """Train `spec` on `interactions` and write the recommender into the empty `folder`.

    `rules` (the slate) are checked against the model's parts before training (`SlateMismatch`). `at` is the time of
    the evaluation split (microseconds), by default after 90% of the events. The served model is trained on all events
    before `as_of`, with the settings that were chosen and evaluated. `effort` limits the choice. With `whole`, lists of
    counts and popularity come from those events, and `interactions` are a `share` of the people. Raises
    `TooLittleData` without events, and `RecallBelowTarget` for an index with too low recall.
    """
    if rules is not None:
        check_parts(rules.retrieve, spec.parts(), declared=True)
    events = interactions if interactions.time.max(initial=0) < as_of else interactions.before(as_of)
    if not len(events):
        raise TooLittleData("there are no events before the as-of time to train on")
    choice, measurement, note = _measured(events, spec, model, rules, at, effort, folder.parent, progress)
    recommender = learn(choice.spec, events, as_of, progress=progress)
    n_rows, n_users, sample = len(events), events.n_users, None
    if share < 1:
        sample = Sample(share=share, n_rows=len(events), used_for="everything")
    if whole is not None:
        progress("count", {"engine": whole.engine.name})
        sampled, recommender = recommender, count_all(recommender, whole)
        if recommender is not sampled:
            n_rows, n_users = whole.facts.n_events, whole.facts.n_users
            if sample is not None:
                others = "settings, evaluation and whatever is no count"
                sample = msgspec.structs.replace(sample, used_for=others)
    progress("write", {"items": recommender.n_items})
    write_recommender(recommender, folder, search, queries(recommender, events))
    opened = open_recommender(folder, search)
    recall = None
    if search is not None and opened.index is not None:
        recall = index_recall(opened, events)
        progress("index", {"recall": recall, "at": POOL, "target": RECALL_TARGET})
        if recall < RECALL_TARGET:
            raise RecallBelowTarget(
                f"the {search.name} index finds {recall:.1%} of the true {POOL} nearest items on real user vectors; "
                f"the target is {RECALL_TARGET:.0%}",
                tip='set search = "exact" in tidemill.toml',
            )
    return TrainResult(
        folder=folder,
        recommender=opened,
        evaluation=measurement.evaluation if measurement else None,
        measurement=measurement,
        learner=choice.spec.name,
        parameters=choice.spec.settings(),
        n_rows=n_rows,
        n_users=n_users,
        n_items=recommender.n_items,
        sample=sample,
        as_of=as_of,
        index_recall=recall,
        note=note,
        notes=(*choice.notes, *([note] if note else [])),
        best=choice.best,
    )


def _measured(
    events: Interactions,
    spec: LearnerSpec,
    model: str,
    rules: RuleSet | None,
    at: int | None,
    effort: SearchBudget,
    place: Path,
    progress: Progress,
) -> tuple[ChoiceResult, Measurement | None, str | None]:
    """Choose settings before the split and evaluate them after it."""
    try:
        split = split_at(events, at)
    except TooLittleData as little:
        choice = choose(spec, events, effort=effort, place=place, progress=progress)
        return choice, None, f"not evaluated: {little.message}"
    choice = choose(spec, split.train, effort=effort, place=place, progress=progress)
    if rules is not None:
        check_parts(rules.retrieve, choice.spec.parts())  # with several learners, the selected one is known only now
    candidate = learn(choice.spec, split.train, split.at, progress=progress)
    progress("evaluate", {"users": split.test.n_users, "events": len(split.test)})
    try:
        measurement = measure(candidate, split, model=model, rules=rules, validation=choice.tried)
    except TooLittleData as little:
        return choice, None, f"not evaluated: {little.message}"
    return choice, measurement, None


def index_recall(recommender: Recommender, events: Interactions, *, pool: int = POOL) -> float:
    """Share of the true `pool` nearest items that the recommender's indexes find, on vectors of real users.

    These users are not those that the indexes were tuned on; with several indexes the lowest recall counts.
    """
    indexed = [part for part in recommender.parts.values() if part.vectors and part.index]
    if not indexed:
        raise ValueError("the recommender has no index to measure")
    return min(_recall(part, events, min(pool, recommender.n_items)) for part in indexed)


def _recall(part: ModelPart, events: Interactions, pool: int) -> float:
    assert part.vectors is not None and part.index is not None
    items, index = part.vectors.items, part.index
    vectors = _user_vectors(part, events, tuning=False)
    return float(np.mean([recall(items, vector, index.query(vector, pool)[0], pool) for vector in vectors]))


def queries(recommender: Recommender, events: Interactions) -> dict[str, F32]:
    """For each part with vectors, the vectors of real users, to tune its index on."""
    return {name: _user_vectors(part, events, tuning=True) for name, part in recommender.parts.items() if part.vectors}


def _user_vectors(part: ModelPart, events: Interactions, *, tuning: bool) -> F32:
    """Vectors of up to `SAMPLED` users, preferably with several items; every other user is for tuning."""
    several = np.flatnonzero(np.diff(events.starts) > 1)
    chosen = several if len(several) > 1 else np.arange(events.n_users)
    chosen = chosen[0 if tuning else min(1, len(chosen) - 1) :: 2]
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(SAMPLED, len(chosen))).astype(int)]
    return user_vectors(part, events, chosen)
