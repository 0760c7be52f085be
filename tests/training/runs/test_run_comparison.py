"""Runs beside each other: only what differs is shown, and pairs are made only of the same users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidemill.core.errors import UsageError
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.core.records.runs import Cost, Run
from tidemill.training import Measurement, PerUnitMetrics, compare, read_unit_metrics, write_unit_metrics

HIT, NDCG = "hit_rate@10[all]", "ndcg@10[all]"


def run(number: int, **more: object) -> Run:
    given: dict[str, object] = {
        "model": "for_you", "number": number, "kind": "train", "state": "finished", "started_at": 1, "learner": "als",
        "parameters": {"factors": 64, "deep": {"l2": 0.1, "l1": 0.0}}, "data": {"ratings": 17}, "code": "c0de",
        "environment": "e0", "commit": "abc",
    }  # fmt: skip
    return Run(**(given | more))  # type: ignore[arg-type]


def figures(users: str, hit: np.ndarray, ndcg: np.ndarray) -> PerUnitMetrics:
    return PerUnitMetrics(users, {"hit_rate@10": hit, "ndcg@10": ndcg})


def noise(seed: int, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def test_only_what_differs_is_shown_by_its_path() -> None:
    one = run(1)
    two = run(2, parameters={"factors": 64, "deep": {"l2": 0.3, "l1": 0.0}, "extra": True}, data={"ratings": 18})
    found = compare([one, two])
    told = {row.what: row.values for row in found.differs}
    assert told == {"parameters.deep.l2": (0.1, 0.3), "parameters.extra": (None, True), "data.ratings": (17, 18)}
    assert found.runs == ("for_you#1", "for_you#2")
    assert found.same > 5
    assert compare([one, run(2)]).differs == ()


def test_a_commit_with_changed_files_differs_from_the_commit() -> None:
    told = {row.what: row.values for row in compare([run(1), run(2, changed=True), run(3, commit=None)]).differs}
    assert told == {"commit": ("abc", "abc with local changes", None)}


def test_figures_and_cost_stand_side_by_side() -> None:
    metric = Metric(value=0.2, low=0.1, high=0.3)
    one = run(1, metrics={HIT: metric}, cost=Cost(wall_s=1.0, cpu_s=0.5, peak_bytes=10))
    two = run(2, metrics={NDCG: metric}, trials=7)
    found = compare([one, two])
    assert {row.name: row.values for row in found.metrics} == {HIT: (metric, None), NDCG: (None, metric)}
    told = {row.what: row.values for row in found.cost}
    assert told == {"wall_s": (1.0, None), "cpu_s": (0.5, None), "peak_bytes": (10, None), "trials": (0, 7)}


def test_a_real_difference_on_the_same_users_is_found_and_none_is_not() -> None:
    base = noise(1)
    one = figures("same", base, base)
    two = figures("same", base + 0.3 + 0.5 * noise(2), base + 0.5 * noise(3))
    found = compare([run(1), run(2)], {"for_you#1": one, "for_you#2": two})
    pairs = {pair.measure: pair for pair in found.paired}
    better, equal = pairs[HIT], pairs[NDCG]
    assert (better.one, better.other, better.n_users) == ("for_you#1", "for_you#2", 400)
    assert better.difference.low > 0.2
    assert better.difference.high < 0.4
    assert better.p_holm < 0.001
    assert equal.difference.low < 0 < equal.difference.high
    assert equal.p > 0.05
    assert better.p_holm == pytest.approx(min(1.0, 2 * better.p))  # Holm: the smallest of two counts twice
    assert found.unpaired == ()


def test_pairing_sees_what_users_share() -> None:
    """Users differ from each other ten times as much as the runs do: unpaired intervals would overlap."""
    base = 10 * noise(1)
    found = compare(
        [run(1), run(2)],
        {"for_you#1": figures("same", base, base), "for_you#2": figures("same", base + 0.2 + 0.1 * noise(2), base)},
    )
    pairs = {pair.measure: pair for pair in found.paired}
    assert pairs[HIT].difference.low > 0.18
    assert (pairs[NDCG].difference.value, pairs[NDCG].p) == (0.0, 1.0)


def test_each_group_of_users_is_paired_and_holm_counts_every_look() -> None:
    """Only warm users are better off: all of them together hide in the noise what is certain for these."""
    warm = np.arange(400) < 60
    base, groups = noise(1), {"warm": warm, "cold": ~warm}
    lift = np.where(warm, 0.5 + 0.1 * noise(2), 3 * noise(3))
    one = PerUnitMetrics("same", {"hit_rate@10": base}, groups)
    two = PerUnitMetrics("same", {"hit_rate@10": base + lift}, groups)
    found = compare([run(1), run(2)], {"for_you#1": one, "for_you#2": two})
    pairs = {pair.measure: pair for pair in found.paired}
    assert {name: pair.n_users for name, pair in pairs.items()} == {
        "hit_rate@10[all]": 400, "hit_rate@10[warm]": 60, "hit_rate@10[cold]": 340,
    }  # fmt: skip
    better = pairs["hit_rate@10[warm]"]
    assert better.difference.value == pytest.approx(lift[warm].mean())
    assert 0.45 < better.difference.low < better.difference.high < 0.55
    assert better.sure
    assert better.p_holm == pytest.approx(3 * better.p)
    assert not pairs["hit_rate@10[all]"].sure


def test_groups_of_other_people_and_of_few_are_not_paired() -> None:
    """The same test users, of whom one training knew more: these are no longer the same group."""
    values = {"hit_rate@10": noise(1)}
    early, late = np.arange(400) < 100, np.arange(400) < 120
    one = PerUnitMetrics("same", values, {"warm": early, "few": np.arange(400) < 9})
    two = PerUnitMetrics("same", values, {"warm": late, "few": np.arange(400) < 9})
    found = compare([run(1), run(2)], {"for_you#1": one, "for_you#2": two})
    assert [pair.measure for pair in found.paired] == [HIT]
    nine = PerUnitMetrics("nine", {"hit_rate@10": noise(1, 9)})
    found = compare([run(1), run(2)], {"for_you#1": nine, "for_you#2": nine})
    assert found.paired == ()
    assert "only 9 users were evaluated" in found.unpaired[0]


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_promised() -> None:
    """200 comparisons of runs that are equal: after Holm, at most about one in twenty has any alarm."""
    alarms = 0
    for seed in range(200):
        pair = {
            "for_you#1": figures("same", noise(4 * seed, 60), noise(4 * seed + 1, 60)),
            "for_you#2": figures("same", noise(4 * seed + 2, 60), noise(4 * seed + 3, 60)),
        }
        alarms += any(one.p_holm < 0.05 for one in compare([run(1), run(2)], pair).paired)
    assert alarms <= 20  # 200 draws at 5% exceed 20 once in 1,500 times


def test_other_users_are_not_paired_and_the_reason_is_told() -> None:
    one, two = figures("these", noise(1), noise(2)), figures("those", noise(1), noise(2))
    found = compare([run(1), run(2, data={"ratings": 18})], {"for_you#1": one, "for_you#2": two})
    assert found.paired == ()
    assert found.unpaired == (
        "for_you#1 and for_you#2 cannot be paired: they were evaluated on different users, targets or days "
        "(400 and 400 users), because ratings had different versions",
    )
    found = compare([run(1), run(2), run(3)], {"for_you#1": one, "for_you#3": one})
    assert found.unpaired == ("for_you#1 and for_you#2 cannot be paired: for_you#2 has no metrics per user",)
    assert {pair.other for pair in found.paired} == {"for_you#3"}


def test_figures_are_read_as_written_and_older_folders_without_groups_too(tmp_path: Path) -> None:
    evaluation = Evaluation(
        model="for_you", baseline="", split_at=0, protocol="", k=10, slices=(), coverage=0.0, novelty=None,
        diversity=None,
    )  # fmt: skip
    warm = np.arange(20) < 12
    values = {"hit_rate@10": (noise(1, 20) > 0).astype(float), "ndcg@10": noise(2, 20)}
    write_unit_metrics(
        PerUnitMetrics.from_measurement(Measurement(evaluation, "same", values, {"warm": warm, "cold": ~warm})),
        tmp_path,
    )
    found = read_unit_metrics(tmp_path)
    assert {name: mask.tolist() for name, mask in found.groups.items()} == {
        "warm": warm.tolist(), "cold": (~warm).tolist(),
    }  # fmt: skip
    assert found.values["hit_rate@10"].tolist() == values["hit_rate@10"].tolist()
    assert found.values["ndcg@10"] == pytest.approx(values["ndcg@10"], abs=1e-6)
    (tmp_path / "groups.npy").unlink()
    (tmp_path / "figures.json").write_bytes(  # as it was written before there were groups
        b'{"format":1,"users":"same","measures":["hit_rate@10[all]","ndcg@10[all]"]}'
    )
    older = read_unit_metrics(tmp_path)
    assert older.groups == {}
    assert older.values["ndcg@10"].tolist() == found.values["ndcg@10"].tolist()
    pairs = compare([run(1), run(2)], {"for_you#1": older, "for_you#2": found}).paired
    assert [(pair.measure, pair.n_users, pair.p) for pair in pairs] == [(HIT, 20, 1.0), (NDCG, 20, 1.0)]


@pytest.mark.parametrize("numbers", [(), (1,), (1, 1), (1, 2, 1)])
def test_fewer_than_two_or_one_twice_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        compare([run(number) for number in numbers])
