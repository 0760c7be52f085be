"""Slices of users and targets: the metrics of each slice, compared with the baseline on the same users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tidemill.core.records.quality import Metric, SliceResult
from tidemill.models.recommender.event_facts import DAY_US
from tidemill.training.recommender.evaluation_targets import EvaluationTargets
from tidemill.training.recommender.popularity_tiers import TIERS, tiers
from tidemill.training.recommender.users_to_evaluate import EvaluationUser
from tidemill.training.statistics.bootstrap import Bootstrap, interval
from tidemill.training.statistics.permutation_test import sign_flips
from tidemill.training.statistics.slices import corrected

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Minimum users of a slice with metrics: fewer would be noise, and could identify a person.
FEWEST = 30
#: Maximum number of item groups with their own slice, those with the most targets first.
GROUPS = 20

_LENGTHS = ((0, 0, "0 events"), (1, 1, "1 event"), (2, 4, "2-4 events"), (5, 9, "5-9 events"), (10, None, "10+ events"))
_AGES = (
    (0.0, 1.0, "last event within a day"),
    (1.0, 7.0, "1-7 days ago"),
    (7.0, 30.0, "7-30 days ago"),
    (30.0, 180.0, "30-180 days ago"),
    (180.0, 365.0, "180-365 days ago"),
    (365.0, float("inf"), "over a year ago"),
)
Cut = tuple[str, str, Mask | None]


def cuts(
    users: Sequence[EvaluationUser],
    targets: EvaluationTargets,
    counts: I64,
    n_catalogue: int,
    groups: Sequence[str] | None,
) -> tuple[list[Cut], list[Cut]]:
    """The main slices (all, warm, cold) and the finer slices, each with family, name and mask of targets."""
    warm = np.array([user.code >= 0 for user in users])[targets.question]
    main: list[Cut] = [("", "all", None), ("", "warm", warm), ("", "cold", ~warm)]
    finer = [*_by_history(users, targets), *_by_target(targets, counts, n_catalogue)]
    if groups is not None:
        finer += _by_group(targets, groups)
    return [cut for cut in main if _some(cut)], [cut for cut in finer if _some(cut)]


def _some(cut: Cut) -> bool:
    return cut[2] is None or bool(cut[2].any())


def _by_history(users: Sequence[EvaluationUser], targets: EvaluationTargets) -> Iterator[Cut]:
    length = np.array([len(user.items) for user in users])[targets.question]
    for low, high, name in _LENGTHS:
        yield "history", name, (length >= low) & (length <= (high if high is not None else length))
    age = np.array([(user.at - int(user.times[-1])) / DAY_US if len(user.times) else -1.0 for user in users])
    age = age[targets.question]
    for start, end, name in _AGES:
        yield "recency", name, (age >= start) & (age < end)


def _by_target(targets: EvaluationTargets, counts: I64, n_catalogue: int) -> Iterator[Cut]:
    tier = tiers(counts, n_catalogue)[targets.code]
    for number, name in enumerate(TIERS[:3]):
        yield "target popularity", name, tier == number
    trained = targets.code < len(counts)
    yield "target", "trained on", trained
    yield "target", "never trained on", ~trained


def _by_group(targets: EvaluationTargets, groups: Sequence[str]) -> Iterator[Cut]:
    """`groups`: the group of each code of the catalogue."""
    names, of = np.unique(np.array(groups)[targets.code], return_inverse=True)
    for number in np.argsort(-np.bincount(of), kind="stable")[:GROUPS]:
        yield "group", str(names[number]), of == number


def slices_of(
    targets: EvaluationTargets, main: Sequence[Cut], finer: Sequence[Cut], ks: Sequence[int], resamples: Bootstrap
) -> tuple[tuple[SliceResult, ...], tuple[SliceResult, ...]]:
    """Main and finer slices with intervals from the same resamples; Holm's correction covers the p values of both.

    Main slices have every metric, finer ones those at the first k. Finer slices with too few users have only a note.
    """
    figures = {}
    for n, (_, _, keep) in enumerate([*main, *finer]):
        figures[n] = targets.figures(keep, ks if n < len(main) else ks[:1])
    evaluated = {n: found for n, found in figures.items() if n < len(main) or len(found[0]) >= FEWEST}
    p = _p(evaluated, targets.n_users, ks[0])
    results = []
    for n, (family, name, _) in enumerate([*main, *finer]):
        users, model, baseline = figures[n]
        if n not in evaluated:
            note = f"{len(users)} users are too few to evaluate"
            results.append(SliceResult(users=name, n_users=len(users), family=family, note=note))
            continue
        values = _columns(model, baseline)
        of_model, of_baseline, difference = _metrics(list(model), values, resamples.means(values, users))
        results.append(
            SliceResult(
                users=name, n_users=len(users), model=of_model, baseline=of_baseline, difference=difference,
                family=family, p=p[n],
            )
        )  # fmt: skip
    found = corrected(results)
    return found[: len(main)], found[len(main) :]


def _columns(model: Mapping[str, F64], baseline: Mapping[str, F64]) -> F64:
    """Model, baseline and difference of every metric, float64 (n_users, 3 · n_metrics)."""
    differences = [model[name] - baseline[name] for name in model]
    return np.column_stack([*model.values(), *baseline.values(), *differences])


def _metrics(names: Sequence[str], values: F64, draws: F64) -> list[dict[str, Metric]]:
    found = [interval(values[:, i].mean(), draws[:, i]) for i in range(values.shape[1])]
    n = len(names)
    return [dict(zip(names, found[start : start + n], strict=True)) for start in range(0, len(found), n)]


def _p(
    figures: Mapping[int, tuple[I64, dict[str, F64], dict[str, F64]]], n_users: int, k: int
) -> dict[int, dict[str, float]]:
    names, differences = {}, {}
    for n, (users, model, baseline) in figures.items():
        chosen = [name for name in model if name.endswith(f"@{k}")]
        names[n], differences[n] = chosen, (users, np.column_stack([model[name] - baseline[name] for name in chosen]))
    found = sign_flips(differences, n_users)
    return {n: dict(zip(chosen, found[n].tolist(), strict=True)) for n, chosen in names.items()}
