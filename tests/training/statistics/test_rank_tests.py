"""The tests of association equal SciPy's, with ties, small groups and a perfect association too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidemill.training.statistics.rank_tests import average_ranks, chi_squared_p, kruskal_p, spearman_p


@pytest.mark.parametrize("seed", range(20))
def test_each_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, levels = int(rng.integers(20, 400)), int(rng.integers(2, 60))
    values = rng.integers(0, levels, n) / 3 + (rng.normal(size=n) if seed % 2 else 0)
    target = values * rng.uniform(0, 0.3) + np.round(rng.normal(size=n), int(rng.integers(0, 3)))
    groups = np.r_[[0, 1], rng.integers(0, 5, n - 2)]
    codes = (target > np.median(target)) * 2 + (groups > 2)
    assert np.array_equal(average_ranks(values), stats.rankdata(values))
    assert spearman_p(values, target) == pytest.approx(stats.spearmanr(values, target).pvalue, rel=1e-9)
    parts = [values[groups == group] for group in np.unique(groups)]
    assert kruskal_p(values, groups) == pytest.approx(stats.kruskal(*parts).pvalue, rel=1e-9)
    table = stats.contingency.crosstab(groups, codes).count
    assert chi_squared_p(groups, codes) == pytest.approx(
        stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9
    )


def test_a_perfect_association_has_no_chance_and_one_group_nothing_to_compare() -> None:
    n = np.arange(50.0)
    assert spearman_p(n, n**3) == spearman_p(n, -n) == 0.0
    assert kruskal_p(n, np.zeros(50, np.int64)) == 1.0
