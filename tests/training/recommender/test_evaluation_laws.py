"""Laws of measuring: who knows the future scores 1, who knows nothing scores chance, what cannot matter does not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from known_rankers import ORACLE, Given, drifting, events, shuffled
from synthetic_days import DAY, shop

from tidemill import models
from tidemill.core.records.quality import Evaluation
from tidemill.models import Interactions, learn
from tidemill.training import Protocol, TimeSplit, leave_one_out, measure, measure_ranker, split_at
from tidemill.training.recommender.users_to_evaluate import catalogue

SPEC = models.cooccurrence(factors=0, half_life="365 days", gap="100 days", backward=1.0, damping=0.25)
EVERY = [Protocol(history, target) for history in ("before", "earlier") for target in ("last", "first", "all")]


def values(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    parts = (*evaluation.slices, *evaluation.parts)
    return {f"{part.family}/{part.users}": {name: m.value for name, m in part.model.items()} for part in parts}


@pytest.mark.parametrize("protocol", EVERY, ids=lambda one: f"{one.history}-{one.target}")
def test_who_knows_the_future_scores_one(protocol: Protocol) -> None:
    found = measure_ranker(ORACLE, split_at(shop(200)), protocol=protocol).evaluation
    for name, figures in values(found).items():
        if name.startswith("target"):  # of several targets, those of another part hold places before these
            figures = {measure: value for measure, value in figures.items() if not measure.startswith("ndcg")}
        assert all(figure == pytest.approx(1.0) for figure in figures.values()), name
    assert found.conventions["history"] == protocol.history
    assert found.conventions["target"] == protocol.target


def test_who_knows_nothing_scores_chance() -> None:
    told = shop(1500, 400, 4, n_days=300)
    split = split_at(told)
    found = measure_ranker(shuffled(split.train.n_items), split, protocol=Protocol("earlier", "last")).evaluation
    chance = 10 / split.train.n_items
    hit = found.slices[0].model["hit_rate@10"]
    assert hit.low <= chance * 1.02
    assert hit.high >= chance * 0.9


def renamed(told: Interactions, rename) -> Interactions:
    order = np.random.default_rng(3).permutation(len(told))  # rows in any order: times differ, so nothing is tied
    rows = [(rename(told.users[told.user[i]]), told.items[told.item[i]], told.time[i] / DAY) for i in order]
    return events(*rows)


def test_other_names_of_users_change_no_figure() -> None:
    told = renamed(shop(250), lambda name: name)
    turned = renamed(shop(250), lambda name: f"u{9999 - int(name[1:]):04}")  # the order of users is turned round
    found = []
    for world in (told, turned):
        split = split_at(world, 150 * DAY)
        found.append(measure(learn(SPEC, split.train, split.at), split).evaluation)
    one, other = map(values, found)
    assert one.keys() == other.keys()
    for name, figures in one.items():
        assert other[name] == pytest.approx(figures), name
    assert found[0].warnings == found[1].warnings


def test_a_useless_item_at_the_end_changes_nothing() -> None:
    split = split_at(shop(200))
    unknown = Given(lambda user, n: [*user.targets[:1].tolist(), -1])
    alone = Given(lambda user, n: user.targets[:1].tolist())
    assert values(measure_ranker(unknown, split).evaluation) == values(measure_ranker(alone, split).evaluation)
    before = Given(lambda user, n: [-1, *user.targets[:1].tolist()])  # in front of it, it costs a place
    assert (
        values(measure_ranker(before, split).evaluation)["/all"]["ndcg@10"]
        < values(measure_ranker(alone, split).evaluation)["/all"]["ndcg@10"]
    )


def test_leave_one_out_promises_more_than_life_keeps() -> None:
    """Where tastes move, a model that has learned from later days looks better than one that could not."""
    told = drifting()
    by_time = split_at(told)
    found = measure(learn(SPEC, by_time.train, by_time.at), by_time, protocol=Protocol("earlier", "last")).evaluation
    held = leave_one_out(told)
    leaky = measure(learn(SPEC, held.train, held.at), held).evaluation
    assert leaky.slices[0].model["hit_rate@10"].low > 2 * found.slices[0].model["hit_rate@10"].high
    assert leaky.protocol.startswith("leave-one-out, which leaks the future")
    assert leaky.conventions["split"] == "leave-one-out"
    assert any("leaks the future: on average" in sentence for sentence in leaky.warnings)
    assert not any("leave-one-out" in sentence for sentence in found.warnings)


def test_leave_one_out_holds_the_last_event_of_users_with_two_or_more() -> None:
    held = leave_one_out(
        events(("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("b", "x", 9), ("c", "y", 4), ("c", "x", 4))
    )
    test = {(held.test.users[u], held.test.items[i]) for u, i in zip(held.test.user, held.test.item, strict=True)}
    assert test == {("a", "z"), ("c", "x")}  # at the same time, the later row is the last
    assert len(held.train) == 4
    assert held.at == 9 * DAY + 1


def test_a_split_that_is_off_by_one_is_refused() -> None:
    told = shop(100)
    at = int(np.sort(told.time)[int(len(told) * 0.8)])
    sound = split_at(told, at)
    leaky = TimeSplit(at, told.where(told.time <= at), sound.test)  # the event at the split is on both sides
    with pytest.raises(ValueError, match="overlaps its test"):
        measure_ranker(ORACLE, leaky)
    assert measure_ranker(ORACLE, sound).evaluation.slices[0].n_users > 0


def test_lists_with_seen_items_are_cleaned_and_told() -> None:
    split = split_at(shop(200))
    careless = Given(lambda user, n: [*user.items[:3].tolist(), *user.targets.tolist()])
    found = measure_ranker(careless, split).evaluation
    assert values(found)["/all"]["ndcg@10"] == pytest.approx(1.0)  # what is left is right
    assert any("held an item that the user already had" in sentence for sentence in found.warnings)
    twice = Given(lambda user, n: [*user.targets[:1].tolist()] * 3)
    assert any("repeated an item" in sentence for sentence in measure_ranker(twice, split).evaluation.warnings)
    assert measure_ranker(ORACLE, split).evaluation.warnings == ()


def test_who_has_no_list_is_a_miss() -> None:
    split = split_at(shop(200))
    half = Given(lambda user, n: user.targets.tolist() if int(user.user[1:]) % 2 else None)
    found = measure_ranker(half, split)
    asked = measure_ranker(ORACLE, split)
    assert found.users == asked.users  # the same people, so figures can be paired
    assert set(found.per_user["hit_rate@10"].tolist()) == {0.0, 1.0}
    assert 0.2 < found.evaluation.slices[0].model["hit_rate@10"].value < 0.8
    assert any("have no list and count as misses" in sentence for sentence in found.evaluation.warnings)


@pytest.mark.parametrize("protocol", [Protocol(), Protocol("earlier", "all")])
def test_groups_of_users_are_those_of_the_slices(protocol: Protocol) -> None:
    split = split_at(shop(200), 60 * DAY)
    found = measure_ranker(Given(lambda user, n: user.targets[: n // 4].tolist()), split, protocol=protocol)
    slices = {part.users: part for part in found.evaluation.slices}
    assert set(found.groups) == {"warm", "cold"} == set(slices) - {"all"}
    for name, mask in found.groups.items():
        assert mask.sum() == slices[name].n_users
        for figure, values in found.per_user.items():
            assert values[mask].mean() == pytest.approx(slices[name].model[figure].value)


def test_measurements_say_whether_they_can_be_paired() -> None:
    told = shop(200)
    split = split_at(told)
    one = measure(learn(SPEC, split.train, split.at), split)
    other = measure(learn(models.popularity(), split.train, split.at), split)
    assert one.users == other.users
    assert len(one.per_user["ndcg@10"]) == one.evaluation.slices[0].n_users
    assert one.per_user["ndcg@10"].mean() == pytest.approx(one.evaluation.slices[0].model["ndcg@10"].value)
    assert measure_ranker(ORACLE, split_at(told, 150 * DAY)).users != one.users
    assert measure_ranker(ORACLE, split, protocol=Protocol(target="last")).users != one.users
    others = [name.replace("u", "v") for name in told.users]  # the same events of other people
    strangers = split_at(Interactions(others, told.items, told.user, told.item, told.time))
    assert measure_ranker(ORACLE, strangers).users != one.users
    fewer = split.test.where(split.test.user > 0)
    assert measure_ranker(ORACLE, TimeSplit(split.at, split.train, fewer)).users != one.users


def test_an_evaluation_survives_json_and_old_ones_are_read() -> None:
    split = split_at(shop(200))
    found = measure(learn(SPEC, split.train, split.at), split, groups={"i000": "first"}).evaluation
    assert msgspec.json.decode(found.json(), type=Evaluation) == found
    old = {
        name: getattr(found, name) for name in ("model", "baseline", "split_at", "protocol", "k", "coverage", "novelty")
    }
    short = [{"users": "all", "n_users": 3, "model": {}, "baseline": {}, "difference": {}}]
    read = msgspec.convert({**old, "slices": short, "diversity": 0.5}, Evaluation)
    assert (read.parts, read.lists, read.warnings, read.slices[0].p) == ((), {}, (), {})


def test_the_catalogue_counts_on_after_the_items_of_train() -> None:
    split = split_at(events(("a", "m", 1), ("a", "b", 2), ("b", "a", 3), ("b", "z", 4), ("a", "m", 5)), 3 * DAY)
    assert catalogue(split) == ["b", "m", "a", "z"]
    known = Given(lambda user, n: [2, 3])  # a list may name what came later, though no frozen model can
    found = measure_ranker(known, split).evaluation
    assert found.slices[0].model["recall@10"].value == 1.0
    assert found.cold_targets == 1.0
    assert found.novelty is None
    assert found.diversity is None
