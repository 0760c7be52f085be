"""Training end to end: chosen, measured beside popularity, learned from all, written, and refused where unfit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_days import DAY, shop

from tidemill import models
from tidemill.core.errors import RecallBelowTarget, SlateMismatch, TooLittleData
from tidemill.models import learn, open_recommender, write_recommender
from tidemill.models.recommender.exact_search import ExactIndex, ExactSearch
from tidemill.training import index_recall, measure, split_at, train_recommender

SPEC = models.cooccurrence(factors=8, half_life="365 days", gap="100 days", backward=1.0, damping=0.25)
END = 200 * DAY


def rules() -> object:
    slate = models.slate(
        retrieve=[models.nearest(200), models.trending(days=7)],
        filter=[models.unseen(), models.eligible("in_stock")],
        order=[models.diverse(by="category")],
        fallback=models.popular(days=30),
    )
    return slate.rules({"facts": ["in_stock", "category"]})


def test_a_training_chooses_measures_and_learns_from_everything(tmp_path: Path) -> None:
    told = shop(400)
    steps: list[str] = []
    result = train_recommender(
        told,
        SPEC,
        model="for_you",
        as_of=END,
        folder=tmp_path / "bundle",
        rules=rules(),
        search=ExactSearch(),
        progress=lambda step, figures: steps.append(step),
    )
    assert result.evaluation is not None
    assert result.evaluation.baseline == "popularity over 30 days"
    slices = {part.users: part for part in result.evaluation.slices}
    assert slices["warm"].difference["hit_rate@10"].low > 0  # a shop of tastes: what is learned beats popularity
    assert slices["all"].n_users == slices["warm"].n_users + slices["cold"].n_users
    for part in slices.values():
        for name, difference in part.difference.items():
            assert difference.value == pytest.approx(part.model[name].value - part.baseline[name].value)
            assert difference.low <= difference.value <= difference.high
    assert result.evaluation.validation
    assert (result.n_rows, result.n_users, result.n_items) == (len(told), told.n_users, told.n_items)
    assert result.index_recall == 1.0
    assert result.parameters["half_life"] == "365 days"
    assert all(result.parameters[name] is not None for name in models.cooccurrence().GRID)
    assert list(dict.fromkeys(steps)) == ["choose", "learn", "evaluate", "write", "index"]
    opened = open_recommender(tmp_path / "bundle", ExactSearch())
    assert list(opened.items) == list(told.items)
    assert opened.as_of == END


def test_an_evaluation_is_of_the_days_after_training_alone() -> None:
    told = shop(300)
    split = split_at(told)
    sound = learn(SPEC, split.train, split.at)
    before = measure(sound, split).evaluation
    with pytest.raises(ValueError, match="training days"):
        measure(learn(SPEC, told, END), split)  # the variant that has seen the test days
    later = split.test.where(split.test.time < split.test.time.max())
    moved = measure(sound, type(split)(split.at, split.train, later)).evaluation
    assert moved.slices[0].n_users <= before.slices[0].n_users
    assert before == measure(sound, split).evaluation  # the same figures and the same intervals each time


def test_popularity_beside_itself_is_no_better() -> None:
    split = split_at(shop(300))
    found = measure(learn(models.popularity(30), split.train, split.at), split).evaluation
    for part in found.slices:
        assert part.difference["hit_rate@10"].value == pytest.approx(0, abs=0.02)
    assert found.coverage < 1


def test_a_slate_that_asks_for_more_than_will_be_learned_is_refused_first(tmp_path: Path) -> None:
    steps: list[str] = []
    with pytest.raises(SlateMismatch):
        train_recommender(
            shop(50),
            models.popularity(),
            model="m",
            as_of=END,
            folder=tmp_path / "bundle",
            rules=rules(),
            progress=lambda step, figures: steps.append(step),
        )
    assert steps == []
    assert not (tmp_path / "bundle").exists()


class _Forgetful(ExactSearch):
    """An index that finds a fifth of what is near."""

    def open(self, folder):
        class Index(ExactIndex):
            def query(self, vector, n):
                found, scores = super().query(vector, self.count)
                return found[::-1][:n], scores[::-1][:n]

        return Index(np.load(Path(folder) / "vectors.npy"))


def test_an_index_that_finds_too_little_makes_no_bundle(tmp_path: Path) -> None:
    told = shop(200, 600, 6)  # more items than the pool, so that something can be missed
    with pytest.raises(RecallBelowTarget, match="exact index finds"):
        train_recommender(told, SPEC, model="m", as_of=END, folder=tmp_path / "bundle", search=_Forgetful())
    recommender = learn(SPEC, told, END)
    write_recommender(recommender, tmp_path / "fine", ExactSearch())
    assert index_recall(open_recommender(tmp_path / "fine", ExactSearch()), told) == 1.0


def test_too_few_days_are_said_and_do_not_stop_a_first_model(tmp_path: Path) -> None:
    told = shop(40)
    first_day = told.where(told.time == told.time.min())
    result = train_recommender(first_day, SPEC, model="m", as_of=END, folder=tmp_path / "one")
    assert result.evaluation is None
    assert result.note is not None
    assert "both sides" in result.note
    with pytest.raises(TooLittleData):
        train_recommender(told, SPEC, model="m", as_of=0, folder=tmp_path / "none")


def test_events_after_the_as_of_are_not_learned(tmp_path: Path) -> None:
    told = shop(200)
    at = int(np.median(told.time))
    result = train_recommender(told, SPEC, model="m", as_of=at, folder=tmp_path / "bundle")
    assert result.n_rows == int((told.time < at).sum())
