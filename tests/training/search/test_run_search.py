"""Searching: the same again, going on after a kill, an end at the deadline, and every combination of a grid."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import searched_things
from hypothesis import given
from hypothesis import strategies as st
from searched_things import BOWL, WarmRunner, bowl, dying, hanging, in_steps, kept_in, threads

from tidemill.core.duration import duration
from tidemill.core.errors import BackendMissing, ProcessFailed, SearchFailed, SettingRefused
from tidemill.core.records.runs import Trial
from tidemill.core.search_space import SearchGrid, SearchRange, grid, search
from tidemill.training.search.run_search import best_trial, run_search
from tidemill.training.search.sampled_space import SampledRange

optuna = pytest.importorskip("optuna")


def told(trials: list[Trial]) -> list[tuple]:
    """What must be the same again: all but the times."""
    return [(t.number, t.parameters, t.state, t.value, t.steps) for t in trials]


def written(trials: list[Trial]) -> list[Trial]:
    """The trials as they come back from where they were kept."""
    return [msgspec.json.decode(trial.json(), type=Trial) for trial in trials]


def test_the_same_seed_tries_the_same_and_another_tries_others() -> None:
    first, again, other = (run_search(BOWL, bowl, seed=seed, trials=16) for seed in (1, 1, 2))
    assert told(first) == told(again)
    assert told(first) != told(other)
    assert [trial.number for trial in first] == list(range(16))
    assert all(trial.state == "finished" and trial.value == bowl(trial.parameters) for trial in first)


def test_it_finds_more_than_chance_does() -> None:
    """Forty trials end nearer to the bottom of the bowl than forty random ones, for most seeds."""
    from tidemill.training.search.sampled_space import SampledSpace

    space, wins = SampledSpace.from_settings(BOWL), 0
    for seed in range(5):
        by_chance = max(bowl(space.drawn(f"{seed}/{i}")) for i in range(40))
        found = best_trial(run_search(BOWL, bowl, seed=seed, trials=40))
        assert found is not None
        assert found.value is not None
        wins += found.value > by_chance
    assert wins >= 4


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("kept", [0, 1, 7, 12, 13, 19, 20])
def test_stopped_after_any_trial_it_goes_on_as_if_nothing_had_happened(kept: int, processes: int, here) -> None:
    whole = run_search(BOWL, bowl, seed=3, trials=20, processes=processes)
    order = [0, 2, 1, 4, 3, 5, *range(6, 20)]  # within a generation they end in any order
    known = written([whole[number] for number in order[:kept]])
    later: list[Trial] = []
    again = run_search(BOWL, bowl, seed=3, trials=20, processes=processes, known=known, keep=later.append)
    assert told(again) == told(whole)
    assert {trial.number for trial in later} == set(range(20)) - set(order[:kept])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of several processes done here, one after another: only what is proposed matters."""
    from tidemill.training.search.trial_runner import TrialRunner

    monkeypatch.setattr(TrialRunner, "_run", lambda self, requests, until_s: [self._here(one) for one in requests])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_three_times_it_ends_with_the_same_best_trial(tmp_path: Path, processes: int) -> None:
    asked = {"seed": 5, "trials": 24, "processes": processes}
    for until in (3, 9, 17):
        search = started(tmp_path, hold_at=until, **asked)
        wait_for(lambda until=until: len(kept_in(tmp_path)) >= until, search)
        search.send_signal(signal.SIGKILL)
        search.communicate()
        assert search.returncode == -signal.SIGKILL
    assert len(kept_in(tmp_path)) < 24
    last = started(tmp_path, hold_at=1_000, **asked)
    last.communicate(timeout=120)
    assert last.returncode == 0
    whole = run_search(BOWL, bowl, seed=5, trials=24, processes=processes)
    assert told(kept_in(tmp_path)) == told(whole)
    assert best_trial(kept_in(tmp_path)).number == best_trial(whole).number


def started(folder: Path, **asked: Any) -> subprocess.Popen[bytes]:
    """A search in a process group of its own, which keeps its trials in the folder."""
    return subprocess.Popen(
        [sys.executable, searched_things.__file__, str(folder), json.dumps(asked)],
        start_new_session=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(what: Callable[[], bool], search: subprocess.Popen[bytes]) -> None:
    patience = time.monotonic() + 60
    while not what():
        assert time.monotonic() < patience
        assert search.poll() is None
        time.sleep(0.02)


def left_no_process(search: subprocess.Popen[bytes]) -> bool:
    """Whether its whole process group ends."""
    patience = time.monotonic() + 60
    while time.monotonic() < patience:
        try:
            os.killpg(search.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_a_deadline_ends_what_never_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.training.search.run_search.TrialRunner", WarmRunner)
    kept: list[Trial] = []
    begun = time.monotonic()
    found = run_search({"x": (1, 2, 3)}, hanging, minutes=1.5 / 60, keep=kept.append)
    assert time.monotonic() - begun >= 1.5
    assert [(trial.number, trial.state, trial.steps) for trial in found] == [
        (0, "finished", (0.5,)),
        (1, "late", (0.5,)),
    ]
    assert found == kept
    assert best_trial(found).parameters == {"x": 1}
    assert "deadline" in found[1].says


def test_a_late_trial_is_tried_again_and_earlier_minutes_count() -> None:
    late = [
        Trial(number=0, parameters={"x": 1}, state="finished", value=1.0, wall_s=30.0),
        Trial(number=1, parameters={"x": 2}, state="late", value=None, wall_s=30.0),
    ]
    spent = run_search({"x": (1, 2, 3)}, hanging, minutes=1, known=late)
    assert spent == late  # the minute is over: nothing more is begun
    done = run_search({"x": (1, 2, 3)}, lambda parameters, report: parameters["x"], known=late)
    assert [(trial.state, trial.value) for trial in done] == [("finished", 1), ("finished", 2), ("finished", 3)]


def test_no_figure_before_the_deadline_is_said() -> None:
    with pytest.raises(SearchFailed, match="deadline"):
        run_search({"x": (2, 3)}, hanging, minutes=0.5 / 60)


def test_a_process_that_dies_fails_its_trial_and_no_other() -> None:
    found = run_search({"x": (1, 2, 3, 4, 5, 6)}, dying, processes=2)
    assert [trial.state for trial in found] == ["finished", "failed", "failed", "failed", "failed", "finished"]
    assert "SIGKILL" in found[1].says
    assert "memory" in found[1].says
    assert "status 7" in found[2].says
    assert re.fullmatch(r"ValueError in searched_things.py, line \d+", found[3].says)  # its words may quote data
    assert "nan" in found[4].says
    assert best_trial(found).parameters == {"x": 6}


def test_where_all_fail_the_first_sentence_is_said() -> None:
    with pytest.raises(SearchFailed, match=r"ValueError in searched_things\.py, line"):
        run_search({"x": (4,)}, dying)


def test_workers_take_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert run_search({"x": (1,)}, threads, minutes=1)[0].value == 1
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(ProcessFailed, match="cannot be sent"):
        run_search({"x": (1, 2)}, lambda parameters, report: 1.0, processes=2)


def test_pruning_gives_up_the_worse_ones_the_same_again_and_keeps_the_best() -> None:
    space = {"x": search(0.0, 1.0)}
    first, again, full = (run_search(space, in_steps, trials=24, prune=prune) for prune in (True, True, False))
    assert told(first) == told(again)
    pruned = [trial for trial in first if trial.state == "pruned"]
    assert len(pruned) > 3
    assert all(trial.value is None and 0 < len(trial.steps) < 4 for trial in pruned)
    assert all(trial.state == "finished" and len(trial.steps) == 4 for trial in full)
    for trial in pruned:  # each was below the median of those before it
        ran = sorted(-((one.parameters["x"] - 0.5) ** 2) for one in first[: trial.number])
        middle = (ran[(len(ran) - 1) // 2] + ran[len(ran) // 2]) / 2
        assert -((trial.parameters["x"] - 0.5) ** 2) < middle
    known = written(first[:11])
    assert told(run_search(space, in_steps, trials=24, known=known)) == told(first)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_grid_keeps_every_combination_in_order(sizes: list[int]) -> None:
    space = {f"s{i}": grid(*range(size)) for i, size in enumerate(sizes)}
    found = run_search(space, lambda parameters, report: sum(parameters.values()), trials=1)
    assert [tuple(trial.parameters.values()) for trial in found] == list(itertools.product(*map(range, sizes)))


def test_grids_need_no_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    found = run_search({"a": (1, 2), "n": search(1, 3)}, lambda parameters, report: parameters["n"])
    assert [(trial.parameters["a"], trial.parameters["n"]) for trial in found] == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    with pytest.raises(BackendMissing, match="Optuna") as refused:
        run_search({"x": search(0.0, 1.0)}, bowl)
    assert "tidemill[learn]" in refused.value.tip


def test_beside_a_range_every_combination_is_tried_and_none_left_out() -> None:
    space = {"x": search(0.0, 1.0), "a": grid(True, 2, 2.5, "2"), "b": grid(None, (1, 2))}
    found = run_search(space, lambda parameters, report: parameters["x"], trials=12)
    tried = [(repr(trial.parameters["a"]), repr(trial.parameters["b"])) for trial in found]
    assert set(tried[:8]) == set(itertools.product(("True", "2", "2.5", "'2'"), ("None", "(1, 2)")))
    again = run_search(space, lambda parameters, report: parameters["x"], trials=12, known=written(found[:9]))
    assert [trial.value for trial in again] == [trial.value for trial in found]
    with pytest.raises(SettingRefused, match="8 combinations"):
        run_search(space, bowl, trials=7)


def test_no_point_is_tried_twice_while_there_are_others() -> None:
    space = {"n": search(1, 60)}
    found = run_search(space, lambda parameters, report: -abs(parameters["n"] - 7), trials=50)
    assert len({trial.parameters["n"] for trial in found}) == 50


def test_the_earliest_wins_a_tie() -> None:
    assert best_trial(run_search({"x": (3, 1, 2)}, lambda parameters, report: 0.0)).parameters == {"x": 3}


@pytest.mark.parametrize(
    "ends", [("7 days", "365 days"), ("1 hour", "2 days"), ("0.5 days", "3 weeks"), ("90 seconds", "2 minutes")]
)
@given(share=st.floats(0, 1))
def test_lengths_of_time_lie_within_the_ends_and_read_back(ends: tuple[str, str], share: float) -> None:
    axis = SampledRange.from_search(search(*ends))
    value = axis.at(share)
    assert duration(ends[0]) <= duration(value) <= duration(ends[1])
    assert axis.written(axis.number(value)) == value
    assert value.split()[1].rstrip("s") == ends[0].split()[1].rstrip("s") or value == ends[1]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_numbers_lie_within_the_ends(low: float, width: float, share: float) -> None:
    axis = SampledRange.from_search(search(low, low + width))
    assert low <= axis.at(share) <= low + width


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"x": 3},
        {"x": "7 days"},
        {"x": ()},
        {"x": (1, 1)},
        {"x": SearchGrid(values=())},
        {"x": SearchRange(low=2, high=1)},
        {"x": SearchRange(low="7 days", high=9)},
        {"x": SearchRange(low=0, high=1, log=True)},
        {"x": tuple(range(200)), "y": tuple(range(200))},
    ],
    ids=repr,
)
def test_what_is_no_space_is_refused(space) -> None:
    with pytest.raises(SettingRefused):
        run_search(space, bowl)


@pytest.mark.parametrize("asked", [{"trials": 0}, {"processes": 0}, {"minutes": 0}, {"minutes": -1.0}])
def test_a_search_that_does_nothing_is_refused(asked) -> None:
    with pytest.raises(SettingRefused):
        run_search({"x": (1,)}, bowl, **asked)


@pytest.mark.parametrize("parameters", [{"y": 1}, {"x": 9.0}, {"x": "a"}, {}])
def test_trials_of_another_search_are_refused(parameters) -> None:
    trial = Trial(number=0, parameters=parameters, state="finished", value=1.0)
    with pytest.raises(SettingRefused):
        run_search({"x": search(0.0, 1.0)}, bowl, known=[trial])


def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    search = started(tmp_path, hold_at=2, seed=5, trials=40, processes=2)
    wait_for(lambda: len(kept_in(tmp_path)) >= 2, search)
    os.killpg(search.pid, signal.SIGINT)  # as a terminal does
    _, err = search.communicate(timeout=60)
    assert err.decode().rstrip().endswith("KeyboardInterrupt")
    assert err.decode().count("Traceback") == 1
    assert left_no_process(search)


@pytest.mark.slow
def test_a_killed_search_leaves_no_trial_running(tmp_path: Path) -> None:
    search = started(tmp_path, hold_at=0, hangs=True, processes=2)
    wait_for(lambda: len(list(tmp_path.glob("*.begun"))) == 2, search)
    search.kill()
    search.communicate()
    assert left_no_process(search)


def test_a_script_without_its_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text(
        "from tidemill.training.search.run_search import run_search\n"
        "def f(parameters, report):\n    return 1.0\n"
        "run_search({'x': (1, 2)}, f, processes=2)\n"
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert "ProcessFailed" in found.stderr
    assert "__main__" in found.stderr
