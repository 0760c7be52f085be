from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from tidemill.backends.file_leases import FileLeases
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.errors import LeaseTaken
from tidemill.testing import LeasesSuite


class TestFileLeases(LeasesSuite):
    url = "./leases"


@pytest.fixture
def lines(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger(tmp_path / "ledger.sqlite")


@pytest.fixture
def leases(tmp_path: Path, lines: SqliteLedger) -> FileLeases:
    return FileLeases(tmp_path / "state", lines)


def test_numbers_rise_and_the_block_frees(leases: FileLeases) -> None:
    with leases.take("run") as first, leases.take("log") as other:
        assert (first.name, first.number, other.number) == ("run", 1, 1)
    with leases.take("run") as second:
        assert second.number == 2
    second.release()  # a second time is fine


def test_a_taken_lease_names_its_holder(leases: FileLeases, lines: SqliteLedger, tmp_path: Path) -> None:
    with leases.take("run"):
        with pytest.raises(LeaseTaken, match=rf"process {os.getpid()} since \d{{4}}-\d\d-\d\d .* UTC"):
            FileLeases(tmp_path / "state", lines).take("run")
        with pytest.raises(BlockingIOError):
            leases.take("run")
    assert leases.take("run").number == 2  # whoever was refused took no number


def test_an_error_in_the_block_frees(leases: FileLeases) -> None:
    with pytest.raises(RuntimeError), leases.take("run"):
        raise RuntimeError
    leases.take("run").release()


def test_a_store_that_fails_leaves_the_lease_free(tmp_path: Path, lines: SqliteLedger) -> None:
    class Broken:
        def lease(self, name: str, holder: str) -> int:
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        FileLeases(tmp_path / "state", Broken()).take("run")  # type: ignore[arg-type]
    FileLeases(tmp_path / "state", lines).take("run").release()


def _hold(folder: Path, pipe) -> None:
    lease = FileLeases(folder / "state", SqliteLedger(folder / "ledger.sqlite")).take("run")
    pipe.send(lease.number)
    signal.pause()


def test_the_kernel_frees_the_lease_of_a_killed_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold, args=(tmp_path, theirs), daemon=True)
    child.start()
    assert ours.recv() == 1
    leases = FileLeases(tmp_path / "state", SqliteLedger(tmp_path / "ledger.sqlite"))
    with pytest.raises(LeaseTaken, match=f"process {child.pid}"):
        leases.take("run")
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with leases.take("run") as lease:
        assert lease.number == 2


def _outlive(pipe) -> None:
    pipe.send("up")
    pipe.recv()


def test_a_forked_child_does_not_keep_the_lease(leases: FileLeases) -> None:
    """A lock belongs to the open file, which a fork shares: without letting go, the child would hold it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with leases.take("run"):
        child = context.Process(target=_outlive, args=(theirs,), daemon=True)
        child.start()
        assert ours.recv() == "up"
        with pytest.raises(LeaseTaken):
            leases.take("run")  # and the child's letting go did not free the parent's
    leases.take("run").release()
    ours.send("end")
    child.join()


def test_a_name_with_a_colon_is_one_plain_file(leases: FileLeases, tmp_path: Path) -> None:
    with leases.take("train:for_you"), leases.take("live:../x"):
        pass
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "live%3A..%2Fx.lock",
        "train%3Afor_you.lock",
    ]


def test_who_asks_for_the_holder_refuses_nobody(leases: FileLeases) -> None:
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            leases.holder("lake")

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for number in range(1, 101):
            with leases.take("lake") as lease:
                assert lease.number == number
    finally:
        done.set()
        for thread in asking:
            thread.join()
