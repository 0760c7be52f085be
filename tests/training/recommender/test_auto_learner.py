"""Which learner: popularity where there is nothing else, what clearly wins where it does, an end at the deadline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace
from searched_things import ToldFigures, WarmRunner
from synthetic_days import DAY, shop

from tidemill.core.errors import SearchFailed, SettingRefused
from tidemill.core.records.runs import Trial
from tidemill.models import Ease, Interactions, ItemKnn, Popularity, auto
from tidemill.models.learners.auto import Prefer
from tidemill.training import SearchBudget, choose, split_at
from tidemill.training.recommender import validation
from tidemill.training.recommender.auto_learner import choose_learner, members_of
from tidemill.training.recommender.validation import user_figures, windows_before
from tidemill.training.search.choice_result import ChoiceResult, is_verdict

QUICK = ("popularity", "item_knn", "cooccurrence", "transitions")


def crowd(n_users: int = 1_500, n_items: int = 80, n_days: int = 60, *, seed: int = 0) -> Interactions:
    """Everybody takes what everybody takes, always the same, whatever he took before: popularity is all there is."""
    rng = np.random.default_rng(seed)
    share = (np.arange(n_items) + 1.0) ** -1.2
    share = rng.permutation(share / share.sum())
    users, items, times = [], [], []
    for user in range(n_users):
        for day in rng.uniform(0, n_days, rng.integers(2, 12)):
            users.append(f"u{user:04}")
            items.append(f"i{rng.choice(n_items, p=share):03}")
            times.append(int(day * DAY))
    table = pa.table({"user": users, "item": items, "at": pa.array(times, pa.timestamp("us", tz="UTC"))})
    return Interactions.from_arrow(table, user="user", item="item", time="at")


def verdicts(trials: list[Trial]) -> dict[str, str]:
    return {trial.parameters["learner"]: trial.says for trial in trials if is_verdict(trial)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_popularity_stays_where_it_is_all_there_is(seed: int) -> None:
    kept: list[Trial] = []
    choice = choose(auto(minutes=2, only=QUICK), crowd(seed=seed), effort=SearchBudget(keep=kept.append))
    assert choice.spec.name == "popularity", verdicts(kept)
    assert list(verdicts(kept)) == list(QUICK)
    assert all(says.startswith("not selected: ") for name, says in verdicts(kept).items() if name != "popularity")
    assert all(note.startswith("popularity is the simplest within noise") for note in choice.notes)


def test_what_clearly_wins_is_taken_and_settled() -> None:
    kept: list[Trial] = []
    told: list[str] = []
    train = split_at(shop(300)).train
    choice = choose(
        auto(minutes=1, only=["popularity", "cooccurrence"]),
        train,
        effort=SearchBudget(keep=kept.append),
        progress=lambda step, figures: told.append(figures["learner"]),
    )
    assert choice.spec.name == "cooccurrence"
    assert choice.spec.open() == {}
    assert choice.best is not None
    (taken,) = [trial for trial in kept if trial.number == choice.best]
    assert taken.says.startswith("selected: +")
    assert "compared with popularity" in taken.says
    assert taken.parameters == {"learner": "cooccurrence"} | {
        name: choice.spec.settings()[name] for name in taken.parameters if name != "learner"
    }
    mine = [trial for trial in kept if trial.parameters["learner"] == "cooccurrence" and not is_verdict(trial)]
    assert taken.cpu_s == pytest.approx(sum(trial.cpu_s for trial in mine))
    assert taken.value == max(trial.value for trial in mine)
    assert choice.tried[0]["score"] == taken.value
    assert len(choice.tried) == len(told) == len(mine) + 1
    alone = choose(members_of(auto())["cooccurrence"], train)
    assert alone.spec == choice.spec  # the same settings as where it is chosen for itself


def decided(
    place: Path,
    told: dict[str, float],
    *,
    minutes: float = 1.0,
    prefer: Prefer = "simple",
    hanging: tuple[str, ...] = (),
    halting: tuple[str, ...] = (),
    known: tuple[Trial, ...] = (),
) -> tuple[ChoiceResult, list[Trial]]:
    """The choice between learners whose figures are known."""
    kept: list[Trial] = []
    names = [name for name in members_of(auto()) if name in {*told, *hanging, "als"}]
    learners = {name: members_of(auto())[name].settled() for name in names}
    figures = ToldFigures(learners, place, told=told, hanging=hanging, halting=halting)
    with WarmRunner(figures, minutes=minutes, keep=kept.append) as runner:
        return choose_learner(figures, runner, known, kept.append, 400, prefer), kept


def test_a_dearer_one_must_be_better_beyond_noise(tmp_path: Path) -> None:
    choice, kept = decided(tmp_path, {"popularity": 0.3, "item_knn": 0.3001, "spectral": 0.32, "ease": 0.321})
    assert choice.spec.name == "spectral"
    said = verdicts(kept)
    assert said["popularity"] == "selected: the simplest learner"
    assert said["item_knn"].startswith("not selected: ")
    assert said["spectral"].startswith("selected: +0.0")
    assert said["ease"].startswith("not selected: +0.00")
    assert "compared with spectral" in said["ease"]
    assert max(kept, key=lambda trial: trial.value or 0).parameters["learner"] == "ease"  # the best figure is not all
    assert kept[[trial.number for trial in kept].index(choice.best)].parameters["learner"] == "spectral"
    left_out, cost = choice.notes
    assert left_out == "als was left out: als needs an extra: pip install 'tidemill[learn]'"
    assert cost.startswith("spectral is the simplest within noise. The best candidate, ease, is better by 0.00")
    choice, _ = decided(tmp_path, {"popularity": 0.3, "spectral": 0.32, "ease": 0.321}, prefer="best")
    assert choice.spec.name == "ease" and len(choice.notes) == 1


def test_the_deadline_holds_and_what_did_not_come_up_is_said(tmp_path: Path) -> None:
    choice, kept = decided(
        tmp_path,
        {"popularity": 0.3, "transitions": 0.4, "ease": 0.5},
        minutes=4 / 60,
        hanging=("cooccurrence", "blend"),
    )
    assert choice.spec.name == "ease"  # one that hangs takes its share of the time, not that of the others
    assert [trial.parameters["learner"] for trial in kept if trial.state == "late"] == ["cooccurrence", "blend"]
    assert choice.notes == (
        "cooccurrence did not finish: the deadline came first",
        "als was left out: als needs an extra: pip install 'tidemill[learn]'",
        "blend did not finish: the deadline came first",
    )


@pytest.mark.parametrize(("blend", "chosen"), [(0.5, "blend"), (0.4001, "ease")])
def test_a_learner_that_finished_one_window_is_compared_on_it(tmp_path: Path, blend: float, chosen: str) -> None:
    choice, kept = decided(tmp_path, {"ease": 0.4, "blend": blend}, minutes=2 / 60, halting=("blend",))
    assert choice.spec.name == chosen
    (verdict,) = [trial for trial in kept if is_verdict(trial) and trial.parameters["learner"] == "blend"]
    assert len(verdict.steps) == 1
    assert verdict.value == pytest.approx(verdict.steps[0])
    assert choice.notes[-1] == (
        "blend was compared on 1 of 2 validation windows: the deadline came first, and all of them take about 1 minute"
    )


def test_time_that_others_leave_goes_to_a_learner_whose_share_ended(tmp_path: Path) -> None:
    kept: list[Trial] = []
    open_one = ItemKnn.from_settings({"popularity_share": 0.1, "popularity_half_life": "30 days"})
    learners = {"popularity": Popularity().settled(), "item_knn": open_one, "ease": Ease().settled()}
    n_settings = 1 + sum(len(values) - 1 for values in open_one.open().values())
    figures = ToldFigures(
        learners,
        tmp_path,
        told={"popularity": 0.3, "item_knn": 0.4, "ease": 0.2},
        trial_s={"item_knn": 2.6 / n_settings},  # its share is 2 seconds of the 4
    )
    with WarmRunner(figures, minutes=4 / 60, keep=kept.append) as runner:
        choice = choose_learner(figures, runner, (), kept.append, 400)
    assert choice.notes == ()
    measured = [trial for trial in kept if trial.parameters["learner"] == "item_knn" and not is_verdict(trial)]
    assert sum(trial.state == "finished" for trial in measured) == n_settings
    assert choice.spec.name == "item_knn"


def untimed(n_users: int = 400) -> Interactions:
    """Users with a taste for every third item, and no times."""
    users = np.repeat(np.arange(n_users), 8)
    items = (np.random.default_rng(1).integers(0, 20, len(users)) * 3 + users % 3).astype(np.int32)
    names = [f"{code:03}" for code in range(max(n_users, 60))]
    return Interactions(names[:n_users], names[:60], users.astype(np.int32), items, np.zeros(len(users), np.int64))


def test_events_of_one_time_are_for_learners_that_need_none() -> None:
    choice = choose(auto(minutes=1, only=["popularity", "item_knn", "transitions", "blend"]), untimed())
    assert choice.spec.name == "item_knn"
    assert choice.notes == tuple(
        f"{name} was left out: it needs times, and all events have the same one" for name in ("transitions", "blend")
    )


@pytest.mark.parametrize(
    ("settings", "n_models"),
    [
        ({"popularity_share": 0.0}, 1),  # the half-life of what has no share
        ({"popularity_share": 0.1, "recency": "365 days"}, 3),
    ],
)
def test_settings_with_equal_scores_are_measured_once(
    settings: dict[str, object], n_models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (window, *_) = windows_before(split_at(shop(300)).train)
    ranked = validation.ranked
    asked = []
    monkeypatch.setattr(validation, "ranked", lambda *given: asked.append(given) or ranked(*given))
    base = ItemKnn.from_settings(settings).settled()
    values = ("30 days", "90 days", "7 days")
    of_users = [user_figures(replace(base, popularity_half_life=value), window) for value in values]
    assert len(asked) == n_models
    if n_models == 1:
        assert np.array_equal(of_users[0], of_users[1])


def test_events_of_one_time_have_no_decay_to_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    (window,) = windows_before(untimed())
    ranked = validation.ranked
    asked = []
    monkeypatch.setattr(validation, "ranked", lambda *given: asked.append(given) or ranked(*given))
    base = ItemKnn.from_settings({"popularity_share": 0.1}).settled()
    one, other = (
        user_figures(replace(base, recency=length, popularity_half_life=length), window)
        for length in ("30 days", "365 days")
    )
    assert len(asked) == 1
    assert np.array_equal(one, other)
    window.measured.clear()  # measured again it is the same
    assert np.array_equal(user_figures(replace(base, recency="30 days", popularity_half_life="7 days"), window), one)


def test_nothing_before_the_deadline_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SearchFailed, match="popularity did not finish"):
        decided(tmp_path, {}, minutes=0.5 / 60, hanging=("popularity",))


@pytest.mark.slow
def test_killed_after_any_trial_it_comes_to_the_same(tmp_path: Path) -> None:
    told = {"popularity": 0.3, "item_knn": 0.3001, "spectral": 0.32, "ease": 0.321}
    (tmp_path / "whole").mkdir()
    whole, kept = decided(tmp_path / "whole", told)
    for until in range(0, len(kept) + 1, 3):
        place = tmp_path / str(until)
        place.mkdir()
        again, later = decided(place, told, known=tuple(kept[:until]))
        assert again == whole
        assert [(t.number, t.parameters, t.says) for t in later] == [
            (t.number, t.parameters, t.says) for t in kept[until:]
        ]


def test_few_users_take_the_simplest() -> None:
    choice = choose(auto(), shop(12))
    assert choice.spec == Popularity().settled()
    assert "warm users" in choice.notes[0]


def test_names_are_checked_and_cheapest_come_first() -> None:
    assert list(members_of(auto(only=("ease", "popularity")))) == ["popularity", "ease"]
    assert list(members_of(auto())) == [
        "popularity",
        "item_knn",
        "cooccurrence",
        "transitions",
        "spectral",
        "ease",
        "als",
        "blend",
    ]
    with pytest.raises(SettingRefused) as refused:
        members_of(auto(only=("eaze",)))
    assert "`ease`" in refused.value.tip
