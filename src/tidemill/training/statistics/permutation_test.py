"""A paired permutation test of a difference, with Holm's correction for multiple tests.

Under the null hypothesis that model and baseline are equally good for each user, the sign of a user's difference is
random: p is the share of 10,000 random sign assignments whose mean is at least as far from zero as the observed one
(Fisher 1935), with one added above and below so that it is never zero (Phipson & Smyth 2010). Over many slices and
metrics, p values are corrected by Holm (1979), which keeps the probability of any false alarm below 5%.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tidemill.training.statistics.bootstrap import BootstrapBlock

F64 = npt.NDArray[np.float64]

_DRAWS, _CHUNK = 10_000, 500
#: Relative tolerance for equal distances from zero, because of rounding.
_ROUNDING = 1e-9
Name = TypeVar("Name", bound=Hashable)


def sign_flips(blocks: Mapping[Name, BootstrapBlock], n_users: int, *, seed: int = 1) -> dict[Name, F64]:
    """Two-sided p of each column of differences: float64 (n_columns) per block; 1 if all differences are zero."""
    rng = np.random.default_rng(seed)
    moved = np.zeros(n_users, np.bool_)
    for block in blocks.values():
        moved[np.arange(n_users) if block.users is None else block.users] |= (block.values != 0).any(axis=1)
    place = np.cumsum(moved) - 1  # users without any difference have no effect
    n = int(moved.sum())
    cut = {name: _moved(block, moved, place) for name, block in blocks.items()}
    seen = {name: np.abs(block.values.sum(axis=0)) for name, block in cut.items()}
    beyond = {name: np.zeros(len(sums)) for name, sums in seen.items()}
    for _ in range(_DRAWS // _CHUNK):
        bits = np.unpackbits(rng.integers(0, 256, (_CHUNK, -(-n // 8)), np.uint8), axis=1)[:, :n]
        signs = bits.astype(np.float64) * 2 - 1
        for name, block in cut.items():
            sums = np.abs((signs if block.users is None else signs[:, block.users]) @ block.values)
            beyond[name] += (sums >= seen[name] * (1 - _ROUNDING) - _ROUNDING).sum(axis=0)
    return {name: (1 + found) / (1 + _DRAWS) for name, found in beyond.items()}


def _moved(block: BootstrapBlock, moved: npt.NDArray[np.bool_], place: npt.NDArray[np.int64]) -> BootstrapBlock:
    users = np.arange(len(moved)) if block.users is None else block.users
    keep = moved[users]
    return BootstrapBlock(place[users[keep]], block.values[keep])


def sign_flip(difference: F64, *, seed: int = 1) -> float:
    """Two-sided p for the mean of differences (n_users) being zero, each sign being equally likely.

    >>> sign_flip(np.array([0.5, 0.4, 0.7, 0.1, 0.2, 0.3, 0.6, 0.2, 0.4, 0.1])) < 0.01
    True
    """
    return float(sign_flips({"all": BootstrapBlock(None, difference[:, None])}, len(difference), seed=seed)["all"][0])


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """The p values after Holm's correction for multiple tests.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    order = sorted(p, key=lambda name: p[name])
    stepped: dict[Name, float] = {}
    highest = 0.0
    for i, name in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - i) * p[name]))
        stepped[name] = highest
    return {name: stepped[name] for name in p}
