from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.records.assessment import CurvePoint, EnsembleMember
from tidemill.core.records.quality import FEWEST_USERS, Metric
from tidemill.training.statistics.permutation_test import ALPHA, random_assignment
from tidemill.training.tabular.assess.fairness import gaps_of
from tidemill.training.tabular.assess.learning_curve import curve_message, nested_share
from tidemill.training.tabular.assess.losses import RowAnswers, main_losses
from tidemill.training.tabular.assess.row_slices import row_slices, weakest
from tidemill.training.tabular.assess.slice_columns import (
    MISSING,
    OTHERS,
    SliceColumn,
    by_number,
    declared_slice_columns,
)


def random_cuts(n: int, rng: np.random.Generator, columns: int = 10) -> list[SliceColumn]:
    """Columns of two to nineteen values, some of them rare."""
    made = []
    for column in range(columns):
        k = int(rng.integers(2, 20))
        code = rng.choice(k, n, p=rng.dirichlet(np.full(k, 0.7)))
        made.append(SliceColumn(f"c{column}", tuple(map(str, range(k))), code.astype(np.int64)))
    return made


@pytest.mark.parametrize("kind", ["skewed", "zero or one"])
def test_dealing_by_a_formula_is_dealing_by_hand(kind):
    rng = np.random.default_rng(0)
    values = rng.exponential(size=400) if kind == "skewed" else (rng.random(400) < 0.1).astype(float)
    away = values - values.mean()
    for size in (15, 60, 200):
        sums = np.abs([away[rng.permutation(400)[:size]].sum() for _ in range(4_000)])
        for quantile in (0.5, 0.9, 0.98):
            edge = np.quantile(sums, quantile)
            for _ in range(200):  # a part whose sum is about as far out
                inside = np.isin(np.arange(400), rng.permutation(400)[:size])
                if abs(abs(away[inside].sum()) - edge) < 0.05 * away.std() * size**0.5:
                    seen = float((sums >= abs(away[inside].sum()) - 1e-9).mean())
                    assert 0.4 * seen - 0.01 < random_assignment(values, inside) < 2.5 * seen + 0.02
                    break


def test_noise_is_hardly_ever_called_a_weak_part_or_a_gap():
    weak = unfair = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        answer = rng.beta(0.5, 1.5, 700)
        told = RowAnswers("binary", answer, (rng.random(700) < answer).astype(float))
        cuts = random_cuts(700, rng, 5)
        weak += any(p < ALPHA for part in row_slices(cuts, told) for p in part.p_holm.values())
        unfair += any(gap.significant for gap in gaps_of(cuts[:2], told).gaps)
    assert weak <= 3 and unfair <= 3, (weak, unfair)


def test_a_weak_part_is_found_among_many_and_small_groups_are_not_shown():
    rng = np.random.default_rng(1)
    answer = rng.beta(0.5, 1.5, 3_000)
    target = (rng.random(3_000) < answer).astype(float)
    cuts = random_cuts(3_000, rng)
    bad = cuts[4].code == 1
    target[bad] = (rng.random(int(bad.sum())) < 0.5).astype(float)
    told = RowAnswers("binary", answer, target)
    parts = row_slices(cuts, told)
    for sentence in ("Worst calibrated slice: c4: 1 (", "Slice with the least skill: c4: 1 (", "Highest loss: c4: 1 ("):
        assert sentence in weakest(parts, "log_loss")
    assert all(part.n_users >= FEWEST_USERS for part in parts)
    (part,) = [part for part in parts if (part.family, part.users) == ("c4", "1")]
    losses = main_losses(told)
    assert part.difference["log_loss"].value == pytest.approx(losses[bad].mean() - losses[~bad].mean())
    few = SliceColumn("few", ("a", "b", "c"), np.r_[np.zeros(5), np.ones(1_000), np.full(1_995, 2)].astype(np.int64))
    for gap in gaps_of([few], told).gaps:
        assert set(gap.groups) == {"b", "c"} and min(gap.n.values()) >= FEWEST_USERS


def test_a_tiny_group_hides_no_gap_between_large_ones():
    rng = np.random.default_rng(2)
    code = np.r_[np.zeros(1_500), np.ones(1_500), np.full(12, 2)].astype(np.int64)
    answer = np.where(code == 0, 0.7, 0.3) * rng.uniform(0.6, 1.3, len(code))
    answer[code == 2] = 0.99
    gap = gaps_of(
        [SliceColumn("g", ("a", "b", "c"), code)],
        RowAnswers("binary", answer, np.round(answer)),
    )
    errors = {each.measure: each for each in gap.gaps}
    assert errors["selection rate"].gap.low > 0.3


def test_of_numbers_error_and_bias_are_compared():
    rng = np.random.default_rng(3)
    target, code = rng.normal(10, 2, 2_000), rng.integers(0, 2, 2_000)
    found = gaps_of(
        [SliceColumn("g", ("a", "b"), code)],
        RowAnswers("number", target + np.where(code == 1, 1.0, 0.0), target),
    )
    gaps = {gap.measure: gap for gap in found.gaps}
    assert gaps["calibration"].highest == "b" and gaps["calibration"].gap.value == pytest.approx(1)
    assert gaps["error"].gap.value == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=80))
def test_every_row_is_in_one_part_of_a_column(values):
    cut = by_number("x", pa.array(values, pa.float64()))
    if cut is None:
        assert len({value for value in values if value is not None}) < 2
        return
    for value, code in zip(values, cut.code, strict=True):
        assert 0 <= code < len(cut.values)
        assert (value is None) == (cut.values[code] == MISSING)


def test_rare_texts_of_a_declared_column_are_taken_together():
    names = [f"t{i % 40:02}" for i in range(1_000)]
    examples = replace(rows(1_000), attributes=pa.table({"town": names}))
    (cut,) = declared_slice_columns(examples, ["town"])
    assert len(cut.values) == 21 and cut.values[-1] == OTHERS
    assert (np.bincount(cut.code)[:-1] == 25).all() and np.bincount(cut.code)[-1] == 500


def points(errors: np.ndarray, n: np.ndarray) -> list[CurvePoint]:
    return [
        CurvePoint(share=1.0, n_rows=int(rows), cpu_s=0.0, score=Metric(value=error, low=error, high=error))
        for rows, error in zip(n, errors, strict=True)
    ]


def test_a_power_law_is_foretold_and_a_flat_curve_is_called_flat():
    n = np.array([100, 300, 1_000, 3_000, 10_000])
    rng = np.random.default_rng(0)
    falling = 0.2 + 3 * n**-0.5
    said = curve_message(points(falling, n), falling + rng.normal(0, 1e-5, (500, 5)), "log_loss")
    assert f"by about {3 * (10_000**-0.5 - 20_000**-0.5):.2g} (" in said
    flat = np.full(5, 0.4)
    said = curve_message(points(flat, n), flat + rng.normal(0, 0.0005, (500, 5)), "log_loss")
    assert "hardly" in said
    noisy = flat + rng.normal(0, 0.02, (500, 5))
    assert "may already be flat" in curve_message(points(flat, n), noisy, "log_loss")
    humped = falling + np.array([-0.15, 0, 0, 0, 0])
    assert "a rough estimate" in curve_message(points(humped, n), humped + rng.normal(0, 1e-3, (500, 5)), "log_loss")
    assert "Not enough rows" in curve_message(points(falling[-2:], n[-2:]), noisy[:, -2:], "log_loss")


def test_only_a_deadline_that_stopped_something_makes_time_worth_while():
    n, errors = np.array([100, 300, 1_000, 3_000]), np.array([0.5, 0.45, 0.42, 0.41])
    zero = Metric(value=0.0, low=0.0, high=0.0)
    chosen = EnsembleMember(name="additive", settings="", score=zero, cpu_s=1.0, state="chosen")
    drawn = np.tile(errors, (200, 1))
    assert "more time alone would change nothing" in curve_message(points(errors, n), drawn, "mae", [chosen])
    late = EnsembleMember(name="catboost", settings="", score=zero, cpu_s=9.0, state="late")
    assert "The deadline stopped catboost" in curve_message(points(errors, n), drawn, "mae", [chosen, late])


def test_smaller_shares_lie_within_larger_ones():
    examples = rows(5_000)
    shares = [set(nested_share(examples, share).tolist()) for share in (0.01, 0.1, 0.3)]
    assert shares[0] < shares[1] < shares[2]
    grouped = replace(examples, group=np.arange(5_000) // 10)
    taken = nested_share(grouped, 0.3)
    assert len(taken) == 10 * len(np.unique(grouped.group[taken]))
