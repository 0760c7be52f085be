"""Evaluation targets: all of them in one table, with their rank in each list, by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidemill.training.recommender.ranking_metrics import flat, measured_at, owners, places
from tidemill.training.recommender.users_to_evaluate import EvaluationUser, user_numbers

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EvaluationTargets:
    """One row per target: its code, its query, and its rank in the list of each ranker."""

    code: I64
    question: I64
    #: int64 (n_questions): the user of each query.
    user: I64
    model: I64
    baseline: I64

    @classmethod
    def from_lists(
        cls, users: Sequence[EvaluationUser], model: Sequence[I32], baseline: Sequence[I32]
    ) -> EvaluationTargets:
        """The targets of `users` in the lists of the model and of the baseline."""
        wanted = [user.targets for user in users]
        return cls(flat(wanted), owners(wanted), user_numbers(users), places(model, wanted), places(baseline, wanted))

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.user[-1]) + 1

    def figures(self, keep: Mask | None, ks: Sequence[int]) -> tuple[I64, dict[str, F64], dict[str, F64]]:
        """Users with a target in `keep` (`None`: all), and the metrics of model and baseline for those targets.

        A user's metric is the mean over their queries. Items that `keep` excludes still hold their ranks in the lists.
        """
        keep = np.ones(len(self.code), np.bool_) if keep is None else keep
        questions, owner = np.unique(self.question[keep], return_inverse=True)
        users, behind = np.unique(self.user[questions], return_inverse=True)
        each = np.bincount(behind)
        found = []
        for place in (self.model, self.baseline):
            measured = measured_at(place[keep], owner, len(questions), ks)
            found.append({name: np.bincount(behind, weights=values) / each for name, values in measured.items()})
        return users, found[0], found[1]
