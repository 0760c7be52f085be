"""`tidemill compare` as a person types it: the list, two runs beside each other, and what it says to nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest_loop import Project, project
from typed_command import asked, tidemill

from tidemill.cli.commands.compare_command import named
from tidemill.core.errors import UsageError
from tidemill.core.records.quality import Evaluation, Metric
from tidemill.loop.training.run_tracking import keep_figures
from tidemill.training import Measurement, PerUnitMetrics

__all__ = ["project"]


def measurement(hits: np.ndarray, users: str = "the same") -> Measurement:
    evaluation = Evaluation(
        model="for_you", baseline="popularity", split_at=0, protocol="", k=10, slices=(), coverage=0.0, novelty=None,
        diversity=None,
    )  # fmt: skip
    warm = np.arange(len(hits)) % 3 > 0
    return Measurement(evaluation, users, {"hit_rate@10": hits}, {"warm": warm, "cold": ~warm})


@pytest.fixture
def tried(project: Project) -> Path:
    """Two trainings on the same 300 users, the second one better, and an evaluation of another model on others."""
    stores, _ = project.open()
    base = np.random.default_rng(0).random(300)
    for factors, more in ((16, 0.0), (64, 0.1)):
        with stores.runs.begin("for_you", "train", learner="als", parameters={"factors": factors, "l2": 0.5}) as run:
            hits = (base < 0.3 + more).astype(np.float64)
            keep_figures(stores, run, PerUnitMetrics.from_measurement(measurement(hits)))
            means = {"all": hits.mean(), "warm": hits[np.arange(300) % 3 > 0].mean()}
            run.finish({
                f"hit_rate@10[{users}]": Metric(value=mean, low=mean - 0.05, high=mean + 0.05)
                for users, mean in means.items()
            })  # fmt: skip
    with stores.runs.begin("similar", "evaluate") as run:
        keep_figures(stores, run, PerUnitMetrics.from_measurement(measurement(np.ones(10), "others")))
    return project.path


def test_the_list_the_comparison_and_what_cannot_be_paired(tried: Path) -> None:
    assert [run["model"] for run in asked("compare", at=tried)] == ["similar", "for_you", "for_you"]
    assert [run["number"] for run in asked("compare", "for_you", at=tried)] == [2, 1]
    assert [run["number"] for run in asked("compare", "for_you", "--last", "1", at=tried)] == [2]
    found = asked("compare", "for_you", "1", "2", at=tried)
    assert found == asked("compare", "for_you#1", "for_you#2", at=tried)
    assert found["differs"] == [{"what": "parameters.factors", "values": [16, 64]}]
    pairs = {pair["measure"]: pair for pair in found["paired"]}
    assert {name: pair["n_users"] for name, pair in pairs.items()} == {
        "hit_rate@10[all]": 300, "hit_rate@10[warm]": 200, "hit_rate@10[cold]": 100,
    }  # fmt: skip
    pair = pairs["hit_rate@10[warm]"]
    assert 0 < pair["difference"]["low"] < pair["difference"]["value"] < pair["difference"]["high"] < 0.2
    assert pair["p_holm"] < 0.01

    status, out, _ = tidemill("compare", "for_you", "1", "2", at=tried)
    assert status == 0
    assert "parameters.factors" in out
    assert "parameters.l2" not in out
    assert "for_you#2 - for_you#1" in out
    assert out.index("hit_rate@10[warm]  +0.") < out.index("hit_rate@10[all]   +0.")
    assert "by hit_rate@10[warm], for_you#2 is significantly better than for_you#1 (200 users)" in out
    status, out, _ = tidemill("compare", "for_you#1", "similar#1", at=tried)
    assert "for_you#1 and similar#1 cannot be paired: they were evaluated on different users" in out
    status, out, _ = tidemill("compare", at=tried)
    assert status == 0
    assert "for_you#2" in out

    status, _, err = tidemill("compare", "for_yu", "1", "2", at=tried)
    assert (status, "TM101" in err, "did you mean `for_you#1`" in err) == (1, True, True)


def test_refreshes_are_listed_where_they_are_asked_for(tried: Path, project: Project) -> None:
    stores, _ = project.open()
    for _ in range(3):
        with stores.runs.begin("for_you", "refresh"):
            pass
    assert [run["number"] for run in asked("compare", "for_you", "--last", "2", at=tried)] == [2, 1]
    assert [run["number"] for run in asked("compare", "for_you", "--refreshes", at=tried)] == [5, 4, 3, 2, 1]
    assert "3 refreshes hidden" in tidemill("compare", "for_you", at=tried)[1]
    assert "hidden" not in tidemill("compare", "for_you", "--refreshes", at=tried)[1]


def test_how_runs_may_be_named() -> None:
    assert named([]) == (None, [])
    assert named(["for_you"]) == ("for_you", [])
    assert named(["for_you", "3", "5"]) == (None, ["for_you#3", "for_you#5"])
    assert named(["for_you#3", "5", "similar#1"]) == (None, ["for_you#3", "for_you#5", "similar#1"])


@pytest.mark.parametrize(
    "what", [["3"], ["for_you", "3"], ["for_you#3"], ["for_you", "similar"], ["for_you", "3", "x"]]
)
def test_what_names_no_two_runs_says_what_to_type(what: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        named(what)
    assert caught.value.tip
