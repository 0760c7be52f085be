"""Counts that are kept are the counts that would be made anew: bit for bit, whatever happened to the rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing_events import Rows, histories_of_a_table, interactions, touched
from hypothesis import given
from hypothesis import strategies as st
from known_worlds import DAY, NOW, checkerboard, events

from tidemill.core.errors import BundleCorrupt, FormatTooNew, LearnError
from tidemill.models import Interactions
from tidemill.models.counts.exact_pair_sums import ASIDE
from tidemill.models.counts.item_tally import ItemTally
from tidemill.models.counts.pair_counts import (
    FLOOR,
    SAME_DAY,
    SMOOTH,
    PairCounts,
    PairSettings,
    cooccurrence_matrix,
)

AS_OF = 401 * DAY
SHAPE: dict[str, Any] = {"backward": 0.7, "damping": 0.25}


def formula(told: Interactions, as_of: int, settings: PairSettings, backward: float, damping: float) -> np.ndarray:
    """The matrix from its definition, pair by pair."""
    w, f = np.zeros((told.n_items, told.n_items)), np.zeros(told.n_items)
    for user in range(told.n_users):
        items, times = told.history(user)
        for b, (item, time) in enumerate(zip(items, times, strict=True)):
            fresh = 2.0 ** -((as_of - int(time)) / (DAY * settings.half_life_days))
            f[item] += fresh
            for a in range(max(0, b - settings.max_lag), b):
                if items[a] != item:
                    apart = int(time - times[a]) / DAY
                    day = SAME_DAY if int(time) // DAY == int(times[a]) // DAY else 1.0
                    near = np.exp(-apart / settings.gap_days) + FLOOR
                    w[items[a], item] += near * (b - a) ** -settings.lag_power * fresh * day
    damp = (f + SMOOTH) ** -damping
    return (w + backward * w.T) * damp[:, None] * damp


SETTINGS = st.builds(
    PairSettings,
    half_life_days=st.sampled_from([1 / 24, 7.0, 1500.0]),
    gap_days=st.sampled_from([1.0, 1000.0]),
    max_lag=st.sampled_from([1, 3, 60]),
    lag_power=st.sampled_from([0.5, 0.25]),
)


@given(histories_of_a_table(), SETTINGS)
def test_kept_counts_are_those_made_anew(moments: list[Rows], settings: PairSettings) -> None:
    kept = settings.none().changed(Interactions.none(), interactions(moments[0]))
    for before, after in itertools.pairwise(moments):
        kept = kept.changed(*touched(before, after))
        now = interactions(after)
        anew = settings.none().changed(Interactions.none(), now)
        assert kept.tally.known == list(now.items)
        assert (kept.tally.n_events, kept.tally.n_users) == (len(now), now.n_users)
        found, wanted = (counts.matrix(now.items, AS_OF, **SHAPE) for counts in (kept, anew))
        assert np.array_equal(found.indptr, wanted.indptr)
        assert np.array_equal(found.indices, wanted.indices)
        assert np.array_equal(found.data, wanted.data)


@given(histories_of_a_table(), SETTINGS)
def test_counts_weigh_what_the_formula_says(moments: list[Rows], settings: PairSettings) -> None:
    now = interactions(moments[0])
    found = settings.none().changed(Interactions.none(), now).matrix(now.items, AS_OF, **SHAPE).toarray()
    assert np.allclose(found, formula(now, AS_OF, settings, 0.7, 0.25), rtol=1e-6, atol=1e-40)


def test_an_old_small_pair_stands_when_a_large_new_one_goes() -> None:
    """In floats, the small one would drown in what the large one leaves."""
    settings = PairSettings(half_life_days=1.0, gap_days=1e9, max_lag=5)
    old = events([("u", "a", 1), ("u", "b", 1)])
    new = events([("v", "a", 99), ("v", "b", 99)])
    both = settings.none().changed(Interactions.none(), old).changed(Interactions.none(), new)
    left = both.changed(new, Interactions.none())
    alone = settings.none().changed(Interactions.none(), old)
    at = {"backward": 0.0, "damping": 0.0}
    assert left.matrix(["a", "b"], NOW, **at)[0, 1] == alone.matrix(["a", "b"], NOW, **at)[0, 1] > 0
    assert both.matrix(["a", "b"], NOW, **at)[0, 1] > 0.5


def test_a_pair_that_nothing_supports_any_more_is_gone() -> None:
    settings = PairSettings(half_life_days=30.0, gap_days=10.0, max_lag=5)
    one, other = events([("u", "a", 1), ("u", "b", 2)]), events([("v", "b", 3), ("v", "c", 4)])
    counts = settings.none().changed(Interactions.none(), one).changed(Interactions.none(), other)
    left = counts.changed(one, Interactions.none())
    assert left.tally.known == ["b", "c"]
    assert left.matrix(["b", "c"], NOW, **SHAPE).nnz == 2
    assert left.matrix(["a", "b", "c"], NOW, **SHAPE)[0].nnz == 0


def test_time_passes_for_all_pairs_alike() -> None:
    told = checkerboard()
    counts = PairCounts.from_interactions(told, half_life_days=30.0, gap_days=10.0, max_lag=60)
    plain = {"backward": 0.0, "damping": 0.0}
    now, later = (counts.matrix(told.items, at, **plain).toarray() for at in (NOW, NOW + 30 * DAY))
    assert np.allclose(later, now / 2, rtol=1e-6)


def test_eighteen_years_in_hours_neither_overflow_nor_grow() -> None:
    rng = np.random.default_rng(3)
    days = np.sort(rng.integers(0, 18 * 365, 3_000))
    told = events([(f"u{n % 40}", f"i{n % 17}", float(day)) for n, day in enumerate(days)])
    counts = PairCounts.from_interactions(told, half_life_days=1 / 24, gap_days=1.0, max_lag=60)
    assert len(counts._spans) <= 64
    as_of = int(told.time.max()) + DAY
    settings = PairSettings(half_life_days=1 / 24, gap_days=1.0, max_lag=60)
    found = counts.matrix(told.items, as_of, **SHAPE).toarray()
    assert found.max() > 0
    assert np.allclose(found, formula(told, as_of, settings, 0.7, 0.25), rtol=1e-5, atol=1e-40)


def test_both_sides_of_the_damping_the_power_and_the_trend() -> None:
    told = events([("u", "a", 10), ("u", "b", 11), ("v", "b", 12)])
    counts = PairCounts.from_interactions(told, half_life_days=1e12, gap_days=10.0, max_lag=60)
    plain = counts.matrix(told.items, NOW, backward=0.0, damping=0.0)[0, 1]
    shaped = counts.matrix(
        told.items, NOW, backward=0.0, damping=0.5, damping_to=0.25, smooth=2.0, power=0.7, trend=0.4,
        recent=np.array([0, 6]),
    )  # fmt: skip
    assert shaped[0, 1] == pytest.approx((plain * 3**-0.5 * 4**-0.25) ** 0.7 * (7 / 5) ** 0.4)
    with pytest.raises(LearnError, match="recent events"):
        counts.matrix(told.items, NOW, backward=0.0, damping=0.0, trend=0.4)


def test_recent_events_are_those_of_the_last_days() -> None:
    told = events([("u", "a", 10), ("u", "b", 95), ("v", "a", 96), ("v", "b", 97)])
    about = {"half_life_days": 1e12, "gap_days": 1e9, "backward": 0.0, "damping": 0.0, "max_lag": 5}
    plain = cooccurrence_matrix(told, NOW, **about)
    of_late = cooccurrence_matrix(told, NOW, **about, trend=1.0, trend_days=30)
    assert of_late[0, 1] == pytest.approx(plain[0, 1] * (2 + 1) / (2 + 3))


def test_counts_come_back_from_their_folder(tmp_path: Path) -> None:
    told = checkerboard()
    settings = PairSettings(half_life_days=3.0, gap_days=10.0, max_lag=4)
    counts = settings.none().changed(Interactions.none(), told)
    more = events([("new", "i03", 40.0), ("new", "unheard-of", 41.0)])
    counts.changed(Interactions.none(), more).write(tmp_path / "counts")
    opened = settings.open(tmp_path / "counts").changed(more, Interactions.none())
    assert (opened.matrix(told.items, NOW, **SHAPE) != counts.matrix(told.items, NOW, **SHAPE)).nnz == 0
    assert opened.tally.known == list(told.items)
    with pytest.raises(BundleCorrupt, match="other settings"):
        PairSettings(half_life_days=4.0, gap_days=10.0, max_lag=4).open(tmp_path / "counts")
    about = tmp_path / "counts" / "pairs.json"
    about.write_bytes(about.read_bytes().replace(b'"format":1', b'"format":9'))
    with pytest.raises(FormatTooNew):
        settings.open(tmp_path / "counts")
    about.write_text("{")
    with pytest.raises(BundleCorrupt):
        settings.open(tmp_path / "counts")


def test_one_day_among_many_is_laid_aside_and_not_added_to_the_whole() -> None:
    told = checkerboard(40, 40)
    settings = PairSettings(half_life_days=1e6, gap_days=10.0, max_lag=60)
    counts = settings.none().changed(Interactions.none(), told)
    one = counts.changed(Interactions.none(), events([("x", "i01", 50), ("x", "i02", 51)]))
    (before,), (after,) = counts._spans.values(), one._spans.values()
    assert after.pairs.base.data is before.pairs.base.data
    assert 0 < after.pairs.aside.nnz < ASIDE * after.pairs.base.nnz


def test_events_that_were_never_counted_cannot_be_taken_away() -> None:
    with pytest.raises(LearnError, match="never counted"):
        ItemTally.none().changed(checkerboard(), Interactions.none())
