"""Contract suite of `Leases` back-ends: one holder per name, increasing numbers, release on death, fencing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.core.errors import LeaseLost, LeaseTaken
from tidemill.core.ports import Lease, Leases, LedgerStore
from tidemill.loop.project.open_port import open_port
from tidemill.testing.ledger_store import line_after

_TAKE = """
import sys, time
from pathlib import Path
from tidemill.core.errors import LeaseTaken
from tidemill.loop.project.open_port import open_port

url, ledger, place, name, act = sys.argv[1:]
leases = open_port("leases", url, Path(place), lines=open_port("ledger", ledger, Path(place)))
"""
_HOLD = _TAKE + "lease = leases.take(name); print(lease.number, flush=True); time.sleep(600)"
_COUNT = (
    _TAKE
    + """
alone, done = Path(place) / "alone", 0
while done < int(act):
    try:
        lease = leases.take(name)
    except LeaseTaken:
        time.sleep(0.002)
        continue
    with lease:
        alone.touch(exist_ok=False)  # fails if another process is in this section
        time.sleep(0.002)
        alone.unlink()
    done += 1
    print(lease.number, flush=True)
"""
)


class LeasesSuite:
    """Subclass it, name the class `Test…`, and set the URLs of the leases and their ledger.

    Both are opened from the test's folder through the entry points of the URLs, also in other processes.
    """

    #: URL of the leases; `{place}` is replaced by the test's folder.
    url = ""
    #: URL of the ledger that assigns the numbers.
    ledger = "./ledger.sqlite"
    #: Seconds after which the lease of a killed holder is free.
    expiry_s = 5.0

    def lines(self, place: Path) -> LedgerStore:
        """The ledger store at `place`."""
        store: LedgerStore = open_port("ledger", self.ledger.format(place=place), place)
        return store

    def open(self, place: Path) -> Leases:
        """The leases at `place`. Calls with the same place, from any process, give the same leases."""
        leases: Leases = open_port("leases", self.url.format(place=place), place, lines=self.lines(place))
        return leases

    def test_numbers_rise_for_each_name_and_the_block_frees(self, tmp_path: Path) -> None:
        leases = self.open(tmp_path)
        with leases.take("lake") as first, leases.take("log") as other:
            assert (first.name, first.number, other.number) == ("lake", 1, 1)
            first.beat()
        with self.open(tmp_path).take("lake") as second:
            assert second.number == 2
        second.release()  # release is idempotent
        with pytest.raises(RuntimeError), leases.take("lake"):
            raise RuntimeError
        leases.take("lake").release()

    def test_a_taken_lease_names_its_holder_and_takes_no_number(self, tmp_path: Path) -> None:
        leases = self.open(tmp_path)
        assert leases.holder("lake") is None
        with leases.take("lake"):
            holder = leases.holder("lake")
            assert holder
            for others in (leases, self.open(tmp_path)):
                with pytest.raises(LeaseTaken, match="lake") as refused:
                    others.take("lake")
                assert holder in str(refused.value)
        assert leases.holder("lake") is None
        assert leases.take("lake").number == 2

    @pytest.mark.parametrize("name", ["train:for_you", "live:für-dich", "train:../../x", "a" * 60])
    def test_any_name_is_a_lease_of_its_own(self, tmp_path: Path, name: str) -> None:
        place = tmp_path / "below" / "place"
        place.mkdir(parents=True)
        leases = self.open(place)
        with leases.take(name) as lease, leases.take("train"), leases.take("live"), leases.take(f"{name}2"):
            assert lease.number == 1
            with pytest.raises(LeaseTaken):
                leases.take(name)
        assert [path.name for path in tmp_path.iterdir()] == ["below"]
        assert [path.name for path in (tmp_path / "below").iterdir()] == ["place"]

    def test_of_many_threads_one_holds_it(self, tmp_path: Path) -> None:
        inside, most, numbers = [0], [0], list[int]()

        def work(leases: Leases) -> None:
            for _ in range(5):
                with _soon(leases, "lake") as lease:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    numbers.append(lease.number)
                    time.sleep(0.001)
                    inside[0] -= 1

        threads = [threading.Thread(target=work, args=(self.open(tmp_path),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1]
        assert numbers == list(range(1, 21))

    def test_of_many_processes_one_holds_it(self, tmp_path: Path) -> None:
        self.open(tmp_path)
        both = [self._process(_COUNT, tmp_path, "8") for _ in range(2)]
        outputs = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        assert sorted(int(number) for out, _ in outputs for number in out.split()) == list(range(1, 17))

    def test_the_death_of_its_holder_frees_it(self, tmp_path: Path) -> None:
        leases = self.open(tmp_path)
        process = self._process(_HOLD, tmp_path)
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "1"
            with pytest.raises(LeaseTaken, match=str(process.pid)):
                leases.take("lake")
        finally:
            process.kill()
            process.communicate()
        with _soon(leases, "lake", self.expiry_s) as lease:
            assert lease.number == 2

    def test_a_line_of_a_stale_holder_is_refused(self, tmp_path: Path) -> None:
        lines, leases = self.lines(tmp_path), self.open(tmp_path)
        with leases.take("lake") as old, leases.take("train:a") as other:
            lines.append(line_after(), (old.name, old.number))
            lines.lease("lake", "who believed the holder dead")
            with pytest.raises(LeaseLost, match="believed"):
                lines.append(line_after(), (old.name, old.number))
            lines.append(line_after(), (other.name, other.number))
        with leases.take("lake") as new:
            assert lines.append(line_after(), (new.name, new.number)).seq == 3

    def _process(self, program: str, place: Path, act: str = "") -> subprocess.Popen[str]:
        urls = self.url.format(place=place), self.ledger.format(place=place)
        words = [sys.executable, "-c", program, *urls, str(place), "lake", act]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def _soon(leases: Leases, name: str, within_s: float = 60.0) -> Iterator[Lease]:
    """Acquire `name` when it is free, or fail after `within_s` seconds."""
    end = time.monotonic() + within_s
    while True:
        try:
            lease = leases.take(name)
            break
        except LeaseTaken:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
    with lease:
        yield lease
