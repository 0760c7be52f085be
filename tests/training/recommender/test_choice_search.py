"""Ranges and grids of a learner's settings: searched on validation days, then what is left out is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_days import shop

from tidemill import models
from tidemill.core.duration import duration
from tidemill.core.errors import CatalogueTooLarge, SearchFailed
from tidemill.core.records.runs import Trial
from tidemill.core.search_space import grid, search
from tidemill.models import Interactions, LearnerSpec
from tidemill.training import ChoiceResult, SearchBudget, choose, split_at
from tidemill.training.recommender.validation_objective import read_events, write_events

optuna = pytest.importorskip("optuna")

TRAIN = split_at(shop(300)).train
GIVEN = {"gap": "100 days", "backward": 1.0, "recency": "365 days", "factors": 0, "spectral_share": 0.0}
#: A range, a grid, and two settings that are left out.
SPEC = models.cooccurrence(
    **GIVEN, half_life=search("7 days", "2000 days"), damping=grid(0.1, 0.5), popularity_half_life="30 days"
)


def tried(effort: SearchBudget, spec: LearnerSpec = SPEC) -> tuple[ChoiceResult, list[Trial]]:
    kept: list[Trial] = []
    return choose(spec, TRAIN, effort=SearchBudget(**effort.__dict__ | {"keep": kept.append})), kept


def test_ranges_are_searched_first_and_the_rest_is_chosen_with_the_best_of_them() -> None:
    choice, kept = tried(SearchBudget(trials=12))
    ranged, rest = kept[:12], kept[12:]
    assert all(set(trial.parameters) == {"half_life", "damping"} for trial in ranged)
    assert {trial.parameters["damping"] for trial in ranged} == {0.1, 0.5}
    best = max(ranged, key=lambda trial: (trial.value or 0, -trial.number))
    assert all(trial.parameters.items() >= best.parameters.items() for trial in rest)
    others = models.Cooccurrence.GRID["popularity_share"][1:]
    assert [trial.parameters["popularity_share"] for trial in rest] == list(others)
    assert [trial.number for trial in kept] == list(range(12 + len(others)))
    top = max(kept, key=lambda trial: (trial.value or 0, -trial.number))
    assert choice.best == top.number
    settings = choice.spec.settings()
    assert {name: settings[name] for name in top.parameters} == top.parameters
    assert duration("7 days") <= duration(settings["half_life"]) <= duration("2000 days")
    assert choice.spec.open() == choice.spec.searched() == {}
    assert choice.tried[0]["score"] == top.value
    assert len(choice.tried) == sum(trial.value is not None for trial in kept)
    assert all(len(trial.steps) == 3 for trial in kept if trial.state == "finished")


@pytest.mark.parametrize("until", [0, 1, 7, 11, 12, 14, 16])
def test_killed_after_any_trial_it_comes_to_the_same(until: int) -> None:
    whole, kept = tried(SearchBudget(trials=12))
    again, later = tried(SearchBudget(trials=12, known=kept[:until]))
    assert again == whole
    assert [(t.number, t.parameters, t.value) for t in later] == [
        (t.number, t.parameters, t.value) for t in kept[until:]
    ]


def test_in_processes_it_comes_to_the_same() -> None:
    """Only settings that are left out: what is tried of them does not depend on how many run at once."""
    spec = models.cooccurrence(**GIVEN, half_life="365 days", damping=grid(0.1, 0.25, 0.5))
    alone, _ = tried(SearchBudget(), spec)
    beside, kept = tried(SearchBudget(processes=2, minutes=2), spec)
    assert beside.spec == alone.spec
    assert list(beside.tried) == list(alone.tried)
    assert max(trial.number for trial in kept) == len(kept) - 1


def test_what_is_left_open_comes_to_the_same_figures_to_the_last_bit() -> None:
    """Again in this process, which has kept something of the first time, and in two others with hashes of their own."""
    given = {"gap": "100 days", "backward": 1.0, "damping": 0.25, "half_life": "365 days"}
    spec = models.cooccurrence(**given)
    alone, _ = tried(SearchBudget(), spec)
    assert len(alone.tried) > 10
    assert alone.spec.spectral_share is not None  # vectors are among what is tried
    assert tried(SearchBudget(), spec)[0] == alone
    assert tried(SearchBudget(processes=2), spec)[0] == alone


def test_a_grid_alone_tries_every_combination() -> None:
    spec = models.item_knn(factors=0, shrinkage=grid(1.0, 10.0), popularity_share=grid(0.0, 0.1, 0.9))
    _, kept = tried(SearchBudget(trials=1), spec)
    assert {(t.parameters["shrinkage"], t.parameters["popularity_share"]) for t in kept[:6]} == {
        (shrinkage, share) for shrinkage in (1.0, 10.0) for share in (0.0, 0.1, 0.9)
    }


def test_what_raises_raises_as_it_did_where_it_ran() -> None:
    n = 60_000
    codes = np.arange(2 * n) // 2
    names = [f"{i:06}" for i in range(n)]
    item = (np.random.default_rng(0).permutation(2 * n) % n).astype(np.int32)
    time = np.random.default_rng(1).permutation(2 * n).astype(np.int64).reshape(n, 2)
    time.sort(axis=1)  # two events of each user, at any time
    wide = Interactions(names, names, codes.astype(np.int32), item, time.ravel())
    with pytest.raises(CatalogueTooLarge):
        choose(models.ease(), wide)


def test_no_figure_before_the_deadline_is_said() -> None:
    with pytest.raises(SearchFailed, match="deadline"):
        choose(SPEC, TRAIN, effort=SearchBudget(minutes=0.0001))


def test_events_come_back_as_they_were_written(tmp_path) -> None:
    write_events(TRAIN, tmp_path)
    again = read_events(tmp_path)
    assert (again.users, again.items) == (list(TRAIN.users), list(TRAIN.items))
    for name in ("user", "item", "time"):
        np.testing.assert_array_equal(getattr(again, name), getattr(TRAIN, name))
