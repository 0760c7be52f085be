"""The demo: a shop that ingests days (one of them bad), trains, serves, replaces and rolls back a model, and uses the
kill switch, with counts of everything.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tidemill.core.clock import SystemClock, as_of
from tidemill.core.errors import UsageError
from tidemill.core.identity.account import local_account
from tidemill.core.processes.start_process import ProcessStart
from tidemill.core.progress import Progress, no_progress
from tidemill.core.records.quality import Evaluation
from tidemill.core.settings import load
from tidemill.loop.demo.demo_worlds import DemoWorld
from tidemill.loop.demo.simulated_clients import ClientStats, SimulatedClients
from tidemill.loop.pipeline.run import RunReport, run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, identity, open_stores
from tidemill.loop.release.go_live import go_live, roll_back
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.loop.training.train import TrainingResult, train
from tidemill.serving import ServerHandle, replayed, set_replay, start, switch, wait_live

#: A file that marks a folder as a demo, so that the next demo may replace it.
MARK = ".tidemill-demo"
#: Seconds for which the kill switch stays off, and on, before the demo continues.
_MOMENT_S = 1.2
#: Prints a sentence for the user.
Say = Callable[[str], None]


@dataclass
class DemoResult:
    """The counts of a demo."""

    rows_in: int = 0
    merged: int = 0
    refused: int = 0
    repeated: int = 0
    warnings: int = 0
    held: list[tuple[str, int]] = field(default_factory=list)
    held_rows: int = 0
    releases: list[str] = field(default_factory=list)
    evaluation: Evaluation | None = None
    #: The true hit rate of a customer's next choice: of the model, of its fallback (popularity), and of the best
    #: possible list of that length.
    truth: tuple[float, float, float] | None = None
    tally: ClientStats = field(default_factory=ClientStats)
    predictions: int = 0
    outcomes: int = 0


class Demo:
    """One demo in `project`. The server that it starts is stopped by `close`."""

    def __init__(
        self,
        project: Path,
        world: DemoWorld,
        say: Say,
        *,
        console: ProcessStart | None,
        ports: tuple[int | None, int | None],
    ) -> None:
        self.project, self.world, self.say = project, world, say
        self._overrides = {"serve.port": ports[0], "serve.console_port": ports[1]}
        self._console = console
        self.played = DemoResult()
        self.server: ServerHandle | None = None
        self.stores: Stores
        self.graph: ProjectGraph

    def close(self) -> None:
        """Stop the server gracefully."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def play(self, *, leave: bool = False, progress: Progress = no_progress) -> DemoResult:
        """Play the whole demo, up to a served and logged model that was replaced twice. The server is left running,
        unless the demo is to `leave`: then it is stopped once its clients are.
        """
        self._open_shop()
        self._live_through([], progress)
        first = self._learn(progress)
        self._serve(first)
        shoppers = SimulatedClients(self._address(), "for_you", self.world.customers, self._takes)
        shoppers.start()
        self._live_through(self.world.days, progress)
        self._replace_and_roll_back(progress)
        by_model = self._true_hit_rate()
        by_fallback = self._off_and_on()
        self.played.tally = shoppers.stop()
        if by_model and by_fallback:
            self.played.truth = (by_model[0], by_fallback[0], by_model[1])
        if leave:
            self.close()  # the log writer then writes at once what waits
        self._count_the_log()
        return self.played

    def _open_shop(self) -> None:
        settings = load(self.project, overrides=self._overrides)
        mill = load_mill(self.project)
        (self.project / "data").mkdir(exist_ok=True)
        self.world.open(self.project / "data")
        self.stores = open_stores(
            self.project, settings, SystemClock(), name=mill.name, account=local_account().doing("demo")
        )
        self.graph = ProjectGraph.of_project(mill, self.stores)
        self.say(f"the shop is in {self.project}; its history goes up to {self.world.history_until}")

    def _live_through(self, days: list[date], progress: Progress) -> None:
        if not days:
            report = run(self.stores, self.graph, until=self.world.history_until, backfill=True, progress=progress)
            self._count(report)
            self.say(
                f"history: {report.arrived:,} rows in, {report.merged:,} merged, {report.repeated:,} repeated, "
                f"{report.refused:,} refused, as one backfill"
            )
            return
        for day in days:
            self.world.arrive(self.project / "data", day)
            report = run(self.stores, self.graph, until=day, progress=progress)
            self._count(report)
            if report.held or day in (days[0], days[-1]):
                held = "; ".join(f"{stream} {number} is HELD" for stream, number in report.held)
                self.say(f"{day}: {report.arrived:,} rows in, {report.merged:,} merged{'; ' + held if held else ''}")

    def _count(self, report: RunReport) -> None:
        played = self.played
        played.rows_in += report.arrived
        played.merged += report.merged
        played.refused += report.refused
        played.repeated += report.repeated
        played.warnings += report.warnings
        for stream, number in report.held:
            played.held.append((stream, number))
            counts = self.stores.lake.held(stream, number).increment.counts
            played.held_rows += counts.arrived
            played.refused -= counts.refused  # they are held with the rest of their day

    def _learn(self, progress: Progress) -> TrainingResult:
        learned = train(self.stores, self.graph, "for_you", progress=progress)
        self.played.evaluation = learned.card.evaluation
        self.played.releases.append(learned.release.name)
        self.say(f"trained {learned.release.name} on {learned.card.n_rows:,} rows: {_quality(learned)}")
        return learned

    def _serve(self, first: TrainingResult) -> None:
        go_live(self.stores, self.graph, first.release.name)
        set_replay(self.stores.serving_root, as_of(self.world.history_until))
        self.server = start(serve_plan(self.stores.settings, overrides=self._overrides, console=self._console))
        self.server.wait_ready()
        self.say(f"{first.release.name} is live on {self.server.url}; simulated clients send requests")

    def _address(self) -> tuple[str, int]:
        assert self.server is not None
        return self.server.plan.host, self.server.port

    def _replace_and_roll_back(self, progress: Progress) -> None:
        second = self._learn(progress)
        first = self.played.releases[0]
        go_live(self.stores, self.graph, second.release.name)
        wait_live(self.stores.serving_root, "for_you", second.release.name)
        roll_back(self.stores, "for_you")
        wait_live(self.stores.serving_root, "for_you", first)
        go_live(self.stores, self.graph, second.release.name)
        wait_live(self.stores.serving_root, "for_you", second.release.name)
        self.say(f"{second.release.name} was promoted while serving, rolled back to {first}, and promoted again")

    def _off_and_on(self) -> tuple[float, float] | None:
        self._switch(off=True)
        by_fallback = self._true_hit_rate()
        self._switch(off=False)
        self.say("switched off (the fallback answered) and on again")
        return by_fallback

    def _switch(self, *, off: bool) -> None:
        stores, why = self.stores, "to show the switch"
        switch(
            stores.serving_root,
            "for_you",
            off=off,
            account=stores.ledger.account,
            why=why,
            clock=stores.clock,
            keys=stores.keys,
            ledger=stores.ledger,
        )
        time.sleep(_MOMENT_S)

    def _takes(self, customer: str, items: Any) -> list[str]:
        day = self._day()
        return self.world.takes(customer, items, day)

    def _day(self) -> date:
        at = replayed(self.stores.serving_root)
        return self.world.days[-1] if at is None else min(at.date() - timedelta(days=1), self.world.days[-1])

    def _true_hit_rate(self) -> tuple[float, float] | None:
        """The true hit rate of the items currently shown to some customers, and the best possible one."""
        clients = SimulatedClients(self._address(), "for_you", [], self._takes)
        found = [
            self.world.true_hit_rate(customer, clients.once(customer), self.world.days[-1])
            for customer in self.world.customers[:200]
        ]
        known = [pair for pair in found if pair is not None]
        if not known:
            return None
        return sum(true for true, _ in known) / len(known), sum(best for _, best in known) / len(known)

    def _count_the_log(self) -> None:
        """Wait until the log writer has written every response to the lake."""
        expected = self.played.tally.answers
        for _ in range(400):
            self.played.predictions = self.stores.lake.log_rows("predictions")
            if self.played.predictions >= expected:
                break
            time.sleep(0.1)
        self.played.outcomes = self.stores.lake.log_rows("outcomes")


def clear(project: Path) -> None:
    """Remove an earlier demo, including its keys; a folder that is not a demo is refused."""
    if not project.exists() or not any(project.iterdir()):
        return
    if not (project / MARK).is_file():
        raise UsageError(
            f"{project} already exists and is not an earlier demo; nothing was changed", tip="--dir another folder"
        )
    if (project / ".tidemill" / "mill.json").is_file():
        keys = load(project).keys_folder(identity(project, None).id)
        shutil.rmtree(keys, ignore_errors=True)
    shutil.rmtree(project)


def _quality(learned: TrainingResult) -> str:
    evaluation = learned.card.evaluation
    if evaluation is None:
        return "too little data to evaluate"
    part = next((one for one in evaluation.slices if one.users == "warm"), evaluation.slices[0])
    name = next(name for name in part.model if name.startswith("hit_rate"))
    gap = part.difference[name]
    return (
        f"{name} {part.model[name].value:.3f} compared with {part.baseline[name].value:.3f} for popularity "
        f"({part.users} users, difference {gap.low:+.3f} to {gap.high:+.3f})"
    )
