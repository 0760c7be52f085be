"""The portfolio: a fixed list of candidates by task and table size, cheapest first, without a search.

A few good settings in a weighted ensemble beat a search over one: Erickson et al. 2020 (AutoGluon-Tabular).
"""

from __future__ import annotations

import msgspec
import numpy as np

from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.member_settings import Curves, Leafwise, Settings, Symmetric

#: Below this many rows, small leaves and low learning rates come first, against overfitting.
SMALL = 20_000
#: With more classes than this, each step grows many trees, and low learning rates would take too long.
_MANY = 3
#: A target whose mean exceeds its median by this much is also fitted as a square root.
_SKEWED = 1.05


def portfolio(examples: Examples) -> tuple[Settings, ...]:
    """The members in the order in which they are fitted."""
    n = len(examples)
    curves = Curves(name="additive") if n < SMALL else Curves(name="additive", knots=32, ridges=(3.0, 0.3, 0.03))
    if examples.task == "number":
        return (curves, *_of_numbers(examples))
    usual = Leafwise(name="lightgbm", min_rows=max(3, min(20, n // 50)))
    if n >= SMALL:
        return curves, usual, Symmetric(name="catboost", rate=0.12)
    if len(examples.classes) > _MANY:
        return curves, usual, Symmetric(name="catboost", rate=0.12), _slow("lightgbm_small", n)
    return curves, _slow("lightgbm_small", n), Symmetric(name="catboost", rate=0.05), usual


def _slow(name: str, n: int) -> Leafwise:
    """Trees with few leaves, on half of the columns and most of the rows, with a low learning rate."""
    few = max(3, min(40, n // 50))
    return Leafwise(name=name, rate=0.03, leaves=6, min_rows=few, column_share=0.5, row_share=0.7, l2=5.0)


def _of_numbers(examples: Examples) -> tuple[Settings, ...]:
    n, root = len(examples), rooted(examples)
    if n < SMALL:
        slow = _slow("lightgbm", n)
        rooted_slow = msgspec.structs.replace(slow, name="lightgbm_root", root=True)
        return (*((rooted_slow,) if root else ()), slow, Symmetric(name="catboost", root=root, rate=0.05))
    usual = Leafwise(name="lightgbm", leaves=63, column_share=0.7)
    first = (Leafwise(name="lightgbm_root", root=True, leaves=63, column_share=0.7),) if root else ()
    return (*first, usual, Symmetric(name="catboost", root=root, rate=0.1, depth=6))


def rooted(examples: Examples) -> bool:
    """Whether the target is a non-negative number with a right-skewed distribution."""
    target = examples.target
    if examples.task != "number" or not len(target) or target.min() < 0:
        return False
    return bool(target.mean() > _SKEWED * np.median(target))
