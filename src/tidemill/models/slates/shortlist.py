"""The shortlist of candidates that a custom rule receives: plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import RuleFailed
from tidemill.models.recommender.interactions import F32, I32, Mask

Column = tuple[npt.NDArray[np.generic], Mask]


@dataclass(frozen=True, kw_only=True)
class Shortlist:
    """Candidates of one request; every array has one entry per candidate, unordered.

        def fresh(candidates):
            return candidates.as_of - candidates["updated_at"] < 90 * 86_400_000_000

    `scores` are the model's, from 0 to 1, `as_of` the time of the request in microseconds, `user` the
    user's features and `context` the `context` field of the request.
    """

    scores: F32
    as_of: int
    user: Mapping[str, Any]
    context: Mapping[str, Any]
    #: Indices in the catalogue, and its ids and facts.
    codes: I32
    ids: npt.NDArray[np.object_]
    columns: Mapping[str, Column]

    @property
    def items(self) -> npt.NDArray[np.object_]:
        """Item ids."""
        return self.ids[self.codes]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, column: str) -> npt.NDArray[np.generic]:
        """A fact of every candidate; if it is missing (see `present`), the value is undefined."""
        return self.columns[column][0][self.codes]

    def present(self, column: str) -> Mask:
        """A mask of the candidates with this fact."""
        return self.columns[column][1][self.codes]


def mask_of(name: str, function: Callable[..., Any], shortlist: Shortlist) -> Mask:
    """The validated result of a filter: one bool per candidate."""
    given = _called(name, function, shortlist)
    if given.dtype != np.bool_:
        raise RuleFailed(f"the filter `{name}` returned {given.dtype} values; it must return one bool per candidate")
    return given


def scores_of(name: str, function: Callable[..., Any], shortlist: Shortlist) -> F32:
    """The validated result of a score: one finite number per candidate."""
    given = _called(name, function, shortlist)
    if given.dtype.kind not in "fiub" or not np.isfinite(given).all():
        raise RuleFailed(f"the score `{name}` returned {given.dtype} values, or values that are not finite")
    return given.astype(np.float32)


def _called(name: str, function: Callable[..., Any], shortlist: Shortlist) -> npt.NDArray[Any]:
    try:
        given = np.asarray(function(shortlist))
    except Exception as problem:
        raise RuleFailed(f"the rule `{name}` failed: {type(problem).__name__}: {problem}") from problem
    if given.shape != (len(shortlist),):
        raise RuleFailed(f"the rule `{name}` returned the shape {given.shape} for {len(shortlist)} candidates")
    return given
