"""The pool: outcomes, deadlines, deaths and what they cost; no process is left, whoever ends first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pooled_work
import pytest
from pooled_work import ThreadedWork, UnreadableWork, do

from tidemill.core.errors import NotReady, ProcessFailed
from tidemill.core.processes.process_pool import ProcessPool


def outcomes(pool: ProcessPool, *tasks: str, until: float | None = None) -> list[Any]:
    """The outcomes in the order of the tasks; `None` where it was not started."""
    found = dict(pool.run(tasks, until=until))
    return [found.get(number) for number in range(len(tasks))]


def gone(pid: int) -> bool:
    """Whether the process ends; a zombie has ended."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(params=[do, ThreadedWork()], ids=["forked", "with a thread"])
def work(request: pytest.FixtureRequest) -> Any:
    """Work of a template that may fork, and of one that may not."""
    return request.param


def test_every_outcome_says_what_became_of_its_task(work: Any) -> None:
    with ProcessPool(work, processes=2) as pool:
        added, refused, raised, ended, killed, again = outcomes(
            pool, "add 1 2", "refuse", "raise", "exit 7", "kill", "add 3 4"
        )
    assert (added.state, added.value, added.reported) == ("finished", 3, ("adding",))
    assert (again.state, again.value) == ("finished", 7)
    assert (refused.state, refused.says) == ("failed", "not yet")
    assert isinstance(refused.error, NotReady)
    assert refused.error.tip == "wait"
    assert raised.says.startswith("ValueError in pooled_work.py, line")  # its own words may quote data
    assert raised.error is None
    assert (ended.state, ended.says) == ("failed", "its process was ended with status 7")
    assert "SIGKILL" in killed.says
    assert "out of memory" in killed.says


def test_a_deadline_ends_what_never_looks_at_the_clock(work: Any) -> None:
    with ProcessPool(work, processes=1) as pool:
        pool.warm()
        started = time.monotonic()
        added, spinning, never = outcomes(pool, "add 1 2", "spin", "add 3 4", until=started + 1)
        assert 1 <= time.monotonic() - started < 5
        assert added.value == 3
        assert (spinning.state, spinning.reported, spinning.says) == ("late", ("begun",), "stopped at the deadline")
        assert never is None
        assert [one.value for one in outcomes(pool, "add 5 6")] == [11]


def test_a_deadline_before_the_start_starts_nothing() -> None:
    with ProcessPool(do) as pool:
        assert outcomes(pool, "add 1 2", until=time.monotonic()) == [None]
        assert [one.value for one in outcomes(pool, "add 1 2")] == [3]


def test_what_a_task_costs_is_measured_also_if_it_is_killed() -> None:
    with ProcessPool(do) as pool:
        small, burnt, grown = outcomes(pool, "add 1 2", "burn 0.3", "grow 200")
        (killed,) = outcomes(pool, "burn-and-spin 0.3", until=time.monotonic() + 2)
    assert 0.3 <= burnt.cpu_s < 0.5
    assert burnt.wall_s >= 0.3
    assert small.cpu_s < 0.1
    assert small.peak_bytes < 100 << 20
    assert grown.peak_bytes > 200 << 20
    assert killed.state == "late"
    assert 0.1 < killed.cpu_s < 0.5  # without the earlier tasks of its process
    assert killed.peak_bytes > 200 << 20


def test_workers_are_forks_of_one_template_that_has_imported_what_they_need() -> None:
    with ProcessPool(do, processes=2, preload=["wave", "no_such_module"]) as pool:
        first, second = outcomes(pool, "process", "process")
        assert first.value[1] == second.value[1] != os.getpid()
        (modules,) = outcomes(pool, "modules")
        assert "wave" in modules.value


def test_a_template_with_threads_does_not_fork() -> None:
    with ProcessPool(ThreadedWork(), processes=2) as pool:
        found = outcomes(pool, "burn 0.5", "burn 0.5", "process", "process")
        assert [one.value[1] for one in found[2:]] == [os.getpid()] * 2


def test_each_worker_has_one_thread_and_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with ProcessPool(do, processes=2, preload=["numpy.random"]) as pool:
        assert [one.value for one in outcomes(pool, "environment OMP_NUM_THREADS")] == ["1"]
        drawn = {one.value for one in outcomes(pool, "random", "random")}
    assert len(drawn) == 2
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_output_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPool(do, log=tmp_path / "log") as pool:
        outcomes(pool, "print")
    assert sorted((tmp_path / "log").read_text().split()) == ["complained", "printed"]
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_sent_or_loaded_is_refused() -> None:
    with pytest.raises(ProcessFailed, match="cannot be sent"):
        ProcessPool(lambda task, report: None)
    with ProcessPool(UnreadableWork()) as pool, pytest.raises(ProcessFailed, match=r"cannot be loaded.*ImportError"):
        pool.warm()


def test_a_template_that_is_killed_while_it_loads_is_said_to_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killing_module.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with ProcessPool(do, preload=["killing_module"]) as pool, pytest.raises(ProcessFailed, match="ended by SIGKILL"):
        pool.warm()


def test_leaving_ends_every_process(work: Any) -> None:
    with ProcessPool(work, processes=2) as pool:
        found = outcomes(pool, "process", "process")
        running = iter(pool.run(["add 1 2", "spin", "spin"]))
        assert next(running)[1].value == 3
    for pid in {pid for one in found for pid in one.value} - {os.getpid()}:
        assert gone(pid)


@pytest.mark.parametrize("kind", ["forked", "threaded"])
def test_workers_end_with_a_parent_that_is_killed(kind: str, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, pooled_work.__file__, str(tmp_path / "pids"), kind])
    end = time.monotonic() + 30
    while not (tmp_path / "pids").exists():
        assert time.monotonic() < end
        assert parent.poll() is None
        time.sleep(0.02)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    time.sleep(0.2)  # now they spin
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert pids
    assert all(gone(pid) for pid in pids)


def test_a_template_that_is_killed_takes_its_workers_along_and_is_replaced() -> None:
    with ProcessPool(do, processes=1) as pool:
        (first,) = outcomes(pool, "process")
        os.kill(first.value[1], signal.SIGKILL)
        assert gone(first.value[0])
        died, added = outcomes(pool, "add 1 2", "add 1 2")
        assert (died.state, added.value) == ("failed", 3)
