"""Runs as lines of a real ledger: numbers, figures while they run, ends of every kind, and what they cost."""

from __future__ import annotations

import math
import mmap
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tidemill.backends.file_leases import FileLeases
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock, to_micros
from tidemill.core.errors import FigureRefused, LeaseLost, SubjectNamed, TooLittleData, UnknownName, UsageError
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.quality import Metric
from tidemill.core.records.runs import Trial
from tidemill.training import Runs
from tidemill.training.runs.process_identity import is_gone, process_identity
from tidemill.training.runs.run_tracker import MOST

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
#: 26 letters with a digit among them, as a person's surrogate has.
PERSON = "abcdefghijklmnopqrstuvwx2a"

#: What another process does first: the same ledger, opened anew.
OPEN = """
import sys, time, os
from datetime import UTC, datetime
from pathlib import Path
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.runs import Trial
from tidemill.training import Runs
root = Path(sys.argv[1])
clock = FixedClock(datetime(2024, 3, 1, 12, tzinfo=UTC))
keys, account = Keys.open(root / "keys", create=False), Account(name="other")
runs = Runs(Ledger(SqliteLedger(root / "ledger.sqlite"), keys, clock, account), clock)
"""


class Bench:
    """A real ledger and its runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FixedClock(NOON)
        self.lines = SqliteLedger(root / "ledger.sqlite")
        self.ledger = Ledger(self.lines, Keys.open(root / "keys", create=True), self.clock, Account(name="ann"))
        self.leases = FileLeases(root, self.lines)
        self.runs = Runs(self.ledger, self.clock)

    def process(self, code: str) -> subprocess.Popen[str]:
        """Another process that runs `code` with `runs` and `root`."""
        program = OPEN + textwrap.dedent(code)
        return subprocess.Popen([sys.executable, "-c", program, str(self.root)], stdout=subprocess.PIPE, text=True)

    def texts(self) -> str:
        """Everything that the ledger holds."""
        return b"\n".join(line.body for line in self.lines.lines()).decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_is_told_as_it_was(bench: Bench) -> None:
    with bench.runs.begin(
        "for_you", "train", learner="spectral", parameters={"factors": 64, "half_life": None, "parts": ("a", "b")},
        data={"ratings": 17}, as_of=5, code="c0de", commit="abc", changed=True, environment="e0",
    ) as run:  # fmt: skip
        assert run.name == "for_you#1"
        assert bench.runs.read("for_you#1").state == "running"
        run.keep("bundle", "bundle:for_you@beef")
        bench.clock.set(NOON + timedelta(minutes=2))
        run.finish({"hit_rate@10": Metric(value=0.2, low=0.1, high=0.3), "n": 4}, parameters={"factors": 32})
    found = Runs(bench.ledger, bench.clock).read("for_you#1")
    assert (found.state, found.kind, found.learner) == ("finished", "train", "spectral")
    assert found.parameters == {"factors": 32, "half_life": None, "parts": ["a", "b"]}
    assert (found.data, found.as_of, found.code, found.commit) == ({"ratings": 17}, 5, "c0de", "abc")
    assert (found.changed, found.environment) == (True, "e0")
    assert found.metrics["hit_rate@10"] == Metric(value=0.2, low=0.1, high=0.3)
    assert found.metrics["n"] == Metric(value=4.0, low=4.0, high=4.0)
    assert found.artefacts == {"bundle": "bundle:for_you@beef"}
    assert (found.started_at, found.ended_at) == (to_micros(NOON), to_micros(NOON) + 120_000_000)
    begin, end = bench.ledger.find("run-begin")[0], bench.ledger.find("run-end")[0]
    assert (begin.about, begin.refs_in) == ("run:for_you@1", ("table:ratings@17",))
    assert (end.about, end.refs_out) == ("run:for_you@1", ("bundle:for_you@beef",))
    assert bench.ledger.verify() == []


def test_runs_are_numbered_for_each_model_and_listed_newest_first(bench: Bench) -> None:
    for model in ("for_you", "similar", "for_you"):
        with bench.runs.begin(model, "evaluate"):
            pass
    assert [run.name for run in bench.runs.all()] == ["for_you#2", "similar#1", "for_you#1"]
    assert [run.name for run in bench.runs.all("similar")] == ["similar#1"]
    assert bench.runs.all("else") == []


def test_an_unknown_run_names_the_nearest(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train"):
        pass
    with pytest.raises(UnknownName, match="did you mean `for_you#1`"):
        bench.runs.read("for_yu#1")
    for name in ("for_you", "for_you#0", "for_you#²", "for_you#" + "9" * 5_000, "#1", ""):
        with pytest.raises(UnknownName):
            bench.runs.points(name)


def test_names_and_kinds_that_cannot_be(bench: Bench) -> None:
    with pytest.raises(UsageError):
        bench.runs.begin("for you", "train")
    with pytest.raises(UsageError, match="did you mean `train`"):
        bench.runs.begin("for_you", "trian")
    with pytest.raises(UsageError, match=r"parameters\.model is a object"):
        bench.runs.begin("for_you", "train", parameters={"model": object()})
    assert bench.runs.all() == []


def test_the_newest_runs_are_read_lazily_and_as_all_of_them_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        with bench.runs.begin("for_you" if number % 2 else "churn", "evaluate") as run:
            if number != 9:
                run.finish({"mae": number / 10})
    runs = Runs(bench.ledger, bench.clock)
    assert list(runs.newest("for_you")) == runs.all("for_you")
    read: list[str] = []
    newest = bench.ledger.newest
    monkeypatch.setattr(
        bench.ledger, "newest", lambda *args: (read.append(line.about) or line for line in newest(*args))
    )
    assert next(Runs(bench.ledger, bench.clock).newest("for_you")).number == 6
    assert Runs(bench.ledger, bench.clock).begin("churn", "train").name == "churn#7"
    assert read == ["run:for_you@6", "run:for_you@6", "run:churn@6"]


def test_threads_that_begin_at_once_share_no_number(bench: Bench) -> None:
    names: list[str] = []
    ready = threading.Barrier(8)

    def begin() -> None:
        runs = Runs(bench.ledger, bench.clock)
        ready.wait()
        names.append(runs.begin("for_you", "notebook").name)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == [f"for_you#{number}" for number in range(1, 9)]
    assert len(bench.runs.all()) == 8


def test_two_that_claim_the_same_number_are_told_apart_by_the_ledgers_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim of another one falls exactly between the look at the ledger and the own claim."""
    other, append = Runs(bench.ledger, bench.clock), bench.ledger.append
    second: list[str] = []

    def late(act: str, **more: object) -> object:
        if act == "run-begin" and not second:
            second.append("")
            second[0] = other.begin("for_you", "train", parameters={"who": "first"}).name
        return append(act, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.ledger, "append", late)
    mine = bench.runs.begin("for_you", "train", parameters={"who": "late"})
    assert (second, mine.name) == (["for_you#1"], "for_you#2")
    assert len(bench.ledger.find("run-begin")) == 3  # one claim was lost
    mine.finish()
    told = {run.number: (run.parameters["who"], run.state) for run in bench.runs.all()}
    assert told == {1: ("first", "running"), 2: ("late", "finished")}


@pytest.mark.slow
def test_processes_that_begin_at_once_share_no_number(bench: Bench) -> None:
    code = """
        while not (root / "go").exists():
            pass
        print(*[runs.begin("for_you", "notebook").name for _ in range(10)])
    """
    others = [bench.process(code) for _ in range(2)]
    time.sleep(1)
    (bench.root / "go").touch()
    names = [name for other in others for name in other.communicate()[0].split()]
    assert sorted(names) == sorted(f"for_you#{number}" for number in range(1, 21))
    assert all(run.state == "stopped" for run in bench.runs.all())  # their processes are over, without a word


def test_a_run_killed_with_its_process_is_told_as_stopped(bench: Bench) -> None:
    other = bench.process("""
        run = runs.begin("for_you", "train")
        run.log(1, loss=0.5)
        run.trial(Trial(number=0, parameters={}, state="finished", value=1.0))
        print("up", flush=True)
        time.sleep(60)
    """)
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    assert bench.runs.read("for_you#1").state == "running"
    os.kill(other.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while bench.runs.read("for_you#1").state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)  # the kill may take a moment; nobody has waited for the process yet
    other.wait()
    other.stdout.close()
    killed = bench.runs.read("for_you#1")
    assert (killed.state, killed.ended_at, killed.trials) == ("stopped", None, 1)
    assert [point.value for point in bench.runs.points("for_you#1")] == [0.5]
    with bench.runs.begin("for_you", "train") as later:
        assert later.name == "for_you#2"


def test_a_run_whose_lease_another_took_is_stopped_and_its_lines_are_refused(bench: Bench) -> None:
    with bench.leases.take("run") as lease:
        first = bench.runs.begin("for_you", "train", lease=lease)
        assert bench.runs.read("for_you#1").state == "running"
    with bench.leases.take("run") as later:
        bench.runs.begin("for_you", "train", lease=later)
        assert bench.runs.read("for_you#1").state == "stopped"
        assert bench.runs.read("for_you#2").state == "running"
        with pytest.raises(LeaseLost):
            first.finish()


def test_each_lease_counts_for_itself(bench: Bench) -> None:
    for _ in range(5):
        bench.leases.take("run").release()
    with bench.leases.take("run") as old:
        bench.runs.begin("for_you", "train", lease=old)
    with bench.leases.take("train:for_you") as mine, bench.leases.take("train:for_two") as other:
        bench.runs.begin("for_you", "train", lease=mine)
        bench.runs.begin("for_two", "train", lease=other)
        assert [run.state for run in bench.runs.all()] == ["running"] * 3  # numbers 6, 1 and 1 of three leases
    with bench.leases.take("train:for_you") as later:
        bench.runs.begin("for_you", "train", lease=later)
        assert [run.state for run in bench.runs.all("for_two")] == ["running"]
        assert [run.state for run in bench.runs.all("for_you")] == ["running", "stopped", "running"]


def test_whose_process_is_gone() -> None:
    here = process_identity()
    assert not is_gone(here, here)
    assert is_gone(here | {"started": here["started"] - 1}, here)  # the number was given to another process
    assert is_gone(here | {"boot": "before"}, here)
    assert not is_gone(here | {"machine": "another", "boot": "another"}, here)
    assert not is_gone(here | {"space": "pid:[1]", "pid": 1 << 22}, here)


def test_a_failure_is_told_and_goes_on_up(bench: Bench) -> None:
    with pytest.raises(TooLittleData), bench.runs.begin("for_you", "train"):
        raise TooLittleData(f"no history of {PERSON}")
    with pytest.raises(ValueError, match="jane"), bench.runs.begin("for_you", "train"):
        raise ValueError("jane@example.org is no number")
    with pytest.raises(KeyboardInterrupt), bench.runs.begin("for_you", "train"):
        raise KeyboardInterrupt
    told = [(run.state, run.says) for run in reversed(bench.runs.all())]
    assert told == [("failed", "no history of (a person)"), ("failed", "ValueError"), ("failed", "interrupted")]
    assert "jane" not in bench.texts()


def test_where_the_failure_cannot_be_written_the_first_error_is_heard(bench: Bench) -> None:
    with bench.leases.take("run") as lease:
        tracked = bench.runs.begin("for_you", "train", lease=lease)
    with bench.leases.take("run"), pytest.raises(TooLittleData) as caught, tracked:
        raise TooLittleData("nothing")
    assert "could not be ended as failed" in caught.value.__notes__[0]


def test_no_text_of_a_run_holds_a_surrogate(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train", parameters={"user": PERSON, PERSON: [PERSON]}, notes=[PERSON]) as run:
        run.log(1, **{PERSON: 1.0})
        run.trial(Trial(number=0, parameters={"who": PERSON}, state="failed", value=None, says=f"\n{PERSON}"))
        run.note(f"see {PERSON}")
        run.finish({PERSON: 2}, notes=[f"\t{PERSON}"])
    assert PERSON not in bench.texts()
    assert bench.runs.read("for_you#1").parameters["user"] == "(a person)"
    assert bench.runs.trials("for_you#1")[0].says == "\n(a person)"


def test_passwords_and_keys_are_not_stored(bench: Bench) -> None:
    url, shown = "postgresql://ann:Hunter2x@db/shop", "postgresql://***@db/shop"
    given = {"source": url, "api_key": "Hunter2x", "nested": [{"password": "Hunter2x"}], "token_pattern": "a+"}
    with bench.runs.begin("for_you", "train", parameters=given, notes=[url]) as run:
        run.trial(Trial(number=0, parameters={"source": url}, state="failed", value=None, says=f"cannot open {url}"))
        run.note(f"see {url}")
    assert "Hunter2x" not in bench.texts() and shown in bench.texts()
    kept = bench.runs.read("for_you#1").parameters
    assert kept == {"source": shown, "api_key": "***", "nested": [{"password": "***"}], "token_pattern": "a+"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), "0.3 or so", None])
def test_what_is_no_figure_is_refused_and_the_run_goes_on(bench: Bench, value: float) -> None:
    run = bench.runs.begin("for_you", "train")
    with pytest.raises(FigureRefused, match="`loss`"):
        run.log(1, loss=value)
    with pytest.raises(FigureRefused, match="`loss`"):
        run.finish({"loss": value})
    with pytest.raises(FigureRefused, match=r"`loss \(high\)`"):
        run.finish({"loss": Metric(value=0, low=0, high=value)})
    if isinstance(value, float):
        with pytest.raises(FigureRefused, match="`steps`"):
            run.trial(Trial(number=0, parameters={}, state="finished", value=1.0, steps=(0.5, value)))
    assert bench.runs.read(run.name).state == "running"
    assert run.finish({"loss": np.float32(0.5)}).metrics["loss"].value == 0.5
    assert bench.runs.points(run.name) == []
    assert bench.runs.trials(run.name) == []


def test_settings_that_json_lacks_are_kept_as_texts(bench: Bench) -> None:
    given = {"C": math.inf, "day": NOON.date(), "n": np.int64(3), "rate": np.float32(0.5), "of": {"b", "a"}}
    with bench.runs.begin("for_you", "train", parameters=given):
        pass
    kept = bench.runs.read("for_you#1").parameters
    assert kept == {"C": "inf", "day": "2024-03-01", "n": 3, "rate": 0.5, "of": ["a", "b"]}


def test_figures_are_written_together_and_none_is_lost(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train") as run:
        for step in range(100):
            run.log(step, loss=1 / (step + 1), rate=0.1)
        assert len(bench.runs.points(run.name)) == 2  # the first ones at once, the others with the next line
    points = bench.runs.points("for_you#1")
    assert [point.step for point in points if point.name == "loss"] == list(range(100))
    assert points[-1].at == to_micros(NOON)
    assert len(bench.ledger.find("run-points")) == 2
    with pytest.raises(UsageError, match="has ended"):
        run.log(100, loss=0.0)


def test_a_flood_of_figures_is_thinned_and_the_run_says_so(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train") as run:
        for step in range(5_000):
            run.log(step, loss=float(step))
    steps = [point.step for point in bench.runs.points("for_you#1")]
    assert len(steps) <= 1 + MOST * len(bench.ledger.find("run-points"))
    assert (steps[0], steps[-1]) == (0, 4_999)
    assert steps == sorted(set(steps))
    assert "evenly spaced" in bench.runs.read("for_you#1").notes[0]


def test_figures_wait_while_the_ledger_is_busy(bench: Bench) -> None:
    run = Runs(Ledger(SqliteLedger(bench.root / "ledger.sqlite", patience_s=0.05), Keys.open(bench.root / "keys",
               create=False), bench.clock, Account(name="ann")), bench.clock).begin("for_you", "train")  # fmt: skip
    with bench.lines._file.write():
        run.log(1, loss=0.5)
    run.finish()
    assert [point.value for point in bench.runs.points(run.name)] == [0.5]


def test_progress_keeps_numbers_and_nothing_else(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train") as run:
        run.progress("choose", {"tried": 1, "score": 0.2, "half_life": "7 days", "last": False})
        run.progress("choose", {"tried": 2, "score": math.nan})
        run.progress("write", {"what": "text"})
    points = {(point.name, point.step): point.value for point in bench.runs.points("for_you#1")}
    assert points == {("choose.tried", 1): 1.0, ("choose.score", 1): 0.2, ("choose.tried", 2): 2.0}
    assert bench.runs.read("for_you#1").notes == ("choose.score was nan and was left out",)


def test_trials_are_kept_at_once_and_the_best_is_named(bench: Bench) -> None:
    with bench.runs.begin("for_you", "search") as run:
        ends = [("finished", 0.1), ("pruned", 0.9), ("finished", 0.4), ("failed", None)]
        for number, (state, value) in enumerate(ends):
            run.trial(Trial(number=number, parameters={"k": number}, state=state, value=value))  # type: ignore[arg-type]
            assert len(bench.runs.trials(run.name)) == number + 1
        assert bench.runs.read(run.name).trials == 4
    found = bench.runs.read("for_you#1")
    assert (found.trials, found.best) == (4, 2)
    assert [trial.parameters["k"] for trial in bench.runs.trials("for_you#1")] == [0, 1, 2, 3]


def test_the_cost_is_what_was_taken(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train") as run:
        block = mmap.mmap(-1, 80_000_000)  # not the allocator's: what some library told it, it may keep what is freed
        block.write(b"1" * len(block))
        spent = time.process_time()
        while time.process_time() - spent < 0.1:
            block.find(b"2")
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    cost = bench.runs.read(run.name).cost
    assert cost is not None
    assert 0.1 < cost.cpu_s < 30
    assert cost.wall_s > 0.1
    block.close()
    with bench.runs.begin("for_you", "train") as small:
        pass
    after = bench.runs.read(small.name).cost
    assert after is not None
    assert after.peak_bytes < cost.peak_bytes - 60_000_000  # the peak is the run's own, not the process's


# ---- tags


def test_tags_stay_with_a_run_in_every_state_and_for_every_reader(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train") as run:
        assert bench.runs.tag(run.name, ["b", "a"]).tags == ("a", "b")
    found = bench.runs.tag("for_you#1", ["paper:table-2"], remove=["b"])
    assert (found.state, found.tags) == ("finished", ("a", "paper:table-2"))
    other = Runs(bench.ledger, bench.clock)
    assert other.read("for_you#1") == other.all()[0] == next(other.newest("for_you")) == found
    assert bench.runs.tag("for_you#1", ["a"]).tags == found.tags
    assert len(bench.ledger.find("run-tag")) == 2  # nothing changes, nothing is written
    assert bench.ledger.verify() == []


def test_two_that_tag_at_once_lose_nothing(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train"):
        pass
    other = Runs(bench.ledger, bench.clock)
    other.read("for_you#1")
    bench.runs.tag("for_you#1", ["mine"])
    other.tag("for_you#1", ["theirs"])
    assert bench.runs.read("for_you#1").tags == ("mine", "theirs")


def test_what_is_no_tag_is_refused_and_nothing_is_written(bench: Bench) -> None:
    with bench.runs.begin("for_you", "train"):
        pass
    for wrong in ("", "two words", "x" * 41, "<b>", "a,b"):
        with pytest.raises(UsageError, match="cannot be a tag"):
            bench.runs.tag("for_you#1", ["good", wrong])
    with pytest.raises(UsageError, match="21 tags; the limit is 20"):
        bench.runs.tag("for_you#1", map(str, range(21)))
    bench.runs.tag("for_you#1", ["baseline"])
    with pytest.raises(UnknownName, match="did you mean `baseline`"):
        bench.runs.tag("for_you#1", remove=["baselin"])
    with pytest.raises(UnknownName, match="did you mean `for_you#1`"):
        bench.runs.tag("for_yuo#1", ["x"])
    with pytest.raises(SubjectNamed):
        bench.runs.tag("for_you#1", [PERSON])
    assert bench.runs.read("for_you#1").tags == ("baseline",)
