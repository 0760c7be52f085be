"""A small real project to damage, with a file of every kind that a project has.

A recommender with a refresh and a custom rule, and a tabular model with looked-up and on-demand features; held days,
refused lines, posted events, logged predictions, outcomes, a released model before each champion, an erased person, a
model that was switched off and on, and entries of the ledger in its log alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from conftest_loop import FIRST, Project, daily, new_project
from http_exchange import Exchange, exchange

from tidemill.core.clock import FixedClock, to_micros
from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.settings import load
from tidemill.feedback import SegmentLog
from tidemill.loop.features.skew_report import skew_report
from tidemill.loop.online.feature_metadata_files import write_skew
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.stores import project_keys
from tidemill.loop.serve import server_processes
from tidemill.loop.serve.prepare_server import prepare_server
from tidemill.loop.state.project_status import status
from tidemill.loop.training.train import train
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.live.kill_switch import switch
from tidemill.serving.live.state_files import read_state, write_state
from tidemill.serving.process.hot_swap import HotSwaps
from tidemill.serving.process.server_state import SERVER, ServerState
from tidemill.serving.process.worker_site import WORKERS, WorkerReport, WorkerSite

#: The last day that is published, and the one that the next run brings in.
PUBLISHED, NEXT = FIRST + timedelta(days=23), FIRST + timedelta(days=24)
NOW = datetime.combine(NEXT + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=12)
#: Somebody whom only events name that were posted last.
NEWCOMER = "newcomer"
USERS = [f"u{number}" for number in range(0, 30, 4)] + ["nobody", NEWCOMER]
_TABULAR = '''

@mill.features(entity="user_id", ttl="400 days", known="event")
def pace(reviews):
    """The last rating of each user."""
    last = reviews.unique(["user_id"], keep="last", order_by=["reviewed_at", "_row"])
    return last.select("user_id", "reviewed_at", last_rating=nw.col("rating"))


@mill.on_demand()
def generosity(last_rating):
    """How far the last rating lies above the middle of the scale."""
    return {"generous": last_rating - 3.0}


stars = mill.model(
    "stars", examples=reviews, target="rating", inputs=["item_id"], features=[pace, generosity],
    learn=__import__("lightgbm").LGBMRegressor(
        n_estimators=9, num_leaves=6, min_child_samples=5, learning_rate=0.4, verbose=-1, n_jobs=1
    ),
    helps="Readers.", could_harm="Nobody.",
)
'''
_RULE = '''

def newest_first(candidates):
    """Half the score, and a little for items of the category c1."""
    return candidates.scores / 2 + 0.001 * (candidates["category"] == "c1")


for_you ='''


def build(root: Path) -> Project:
    """The project, as it is after some weeks."""
    project = new_project(root)
    project.clock = FixedClock(NOW)
    mill = (project.path / "mill.py").read_text()
    for before, after in (
        ("learn=tm.cooccurrence(),", "learn=tm.cooccurrence(),\n    refresh='1 day',"),
        ("\nfor_you =", _RULE),
        ("        order=[", "        score=[newest_first],\n        order=["),
    ):
        assert before in mill
        mill = mill.replace(before, after, 1)
    (project.path / "mill.py").write_text(mill + _TABULAR)
    lines = daily(26, 14)
    held = FIRST + timedelta(days=20)
    project.write("reviews-1.csv", [row for row in lines if row[3] < FIRST + timedelta(days=14)])
    with (project.path / "data" / "reviews-1.csv").open("a") as file:
        file.write("i1,u1,not a number,1704067200\n")
    project.run(FIRST + timedelta(days=13), backfill=True)
    for model in ("for_you", "stars"):
        _go_live(project, model)
    server = Server(project)
    bad = [(f"x{number}", "i1", 9.0, held) for number in range(60)]
    rows = [row for row in lines if FIRST + timedelta(days=14) <= row[3] <= PUBLISHED and row[3] != held]
    project.write("reviews-2.csv", rows + bad)
    project.run(PUBLISHED)
    _go_live(project, "stars")
    server.follow()  # of both models the release before it stays known
    server.close()
    stores, _ = project.open()
    stores.vault.forget([stores.surrogates("user_id", "u29")])
    server = Server(project)
    server.use("i3")
    server.close()
    write_log(project)
    stores, graph = project.open()
    write_skew(stores.serving_root, skew_report(stores, graph, "stars"), to_micros(project.clock.now()))
    mill = project.path / "mill.py"
    mill.write_text(mill.read_text().replace("last = ", "newest = ").replace("return last.", "return newest."))
    project.run(PUBLISHED)  # leaves the note that the code of a feature has changed
    project.write("reviews-3.csv", [row for row in lines if row[3] == NEXT])
    return project


def _go_live(project: Project, model: str) -> None:
    stores, graph = project.open()
    made = train(stores, graph, model)
    with stores.leases.take(f"live:{model}") as lease:
        stores.releases.promote(made.release.name, lease=lease)


def _accepted(one: Exchange, status: int) -> Any:
    assert one.status == status, one.content
    return one.content


def copy(project: Project, folder: Path) -> Project:
    """A copy with its keys, in a folder of its own."""
    shutil.copytree(project.path, folder / "shop")
    shutil.copytree(project.path.parent / "keys", folder / "keys")
    settings = folder / "shop" / "tidemill.toml"
    settings.write_text(settings.read_text().replace(str(project.path.parent / "keys"), str(folder / "keys")))
    return Project(folder / "shop", project.clock)


def killed(project: Project, folder: Path) -> Project:
    """A copy of it as a power failure leaves it: the server runs, and the last entries of ledger and vault are in their
    logs alone.
    """
    server = Server(project)
    with contextlib.closing(server), _open_log(project, "ledger"), _open_log(project, "vault"):
        stores, _ = project.open()
        for model, off, ledger in (("for_you", True, True), ("for_you", False, True), ("stars", False, False)):
            switch(
                stores.serving_root, model, off=off, account=Account(name="mara"), why="a drill",
                clock=project.clock, keys=stores.keys, ledger=stores.ledger if ledger else None,
            )  # fmt: skip
        server.use("i9", NEWCOMER)
        return copy(project, folder)


@contextlib.contextmanager
def _open_log(project: Project, name: str) -> Iterator[None]:
    """While a reader is open, what is written stays in the database's log."""
    with contextlib.closing(sqlite3.connect(project.path / ".tidemill" / f"{name}.sqlite")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sqlite_master").fetchall()
        yield


class Server:
    """One worker of `tidemill serve` in this process, after everything that the command and its supervisor do first."""

    def __init__(self, project: Project) -> None:
        prepare_server(project.open)
        settings = load(project.path, environ={})
        self.root = project.path / ".tidemill" / "serving"
        self._log = SegmentLog(project.path / ".tidemill" / "log", project.clock)
        self._swaps = HotSwaps(self.root, PortOpener(settings).blobs(), project_keys(settings).public)
        for old in (self.root / WORKERS).glob("*.json"):
            old.unlink()
        self._verify()
        stores = server_processes._stores(settings)
        stores.log.close()  # type: ignore[attr-defined]
        stores = msgspec.structs.replace(stores, wall=project.clock, log=self._log)
        self.site = WorkerSite(stores, settings.serve, LoopbackAccess([8400]), place=0)
        self.site.start()
        state = ServerState(pid=os.getpid(), host="127.0.0.1", port=8400, state="up", workers=1)
        write_state(self.root / SERVER, state)
        self.follow()

    def follow(self) -> None:
        """Serve what was promoted meanwhile."""
        self._verify()
        asyncio.run(self._poll())
        self._verify()

    def _verify(self) -> None:
        found = [read_state(path, WorkerReport) for path in (self.root / WORKERS).glob("*.json")]
        reports = {report.pid: report for report in found if report is not None}
        self._swaps.poll(reports, 1, 0.0)
        while self._swaps.verifying:
            time.sleep(0.001)
            self._swaps.poll(reports, 1, 0.0)

    async def _poll(self) -> None:
        self.site.poll()
        while self.site.loading:
            await asyncio.sleep(0.001)
        self.site.poll()

    def use(self, item: str, *newcomers: str) -> None:
        """Events with this item, predictions and outcomes."""
        for user in (*USERS[:4], *newcomers):
            event = {"user_id": user, "item_id": item, "rating": 4.0, "reviewed_at": f"{NEXT}T09:00:00Z"}
            _accepted(self.post("/v1/events/reviews", [event]), 202)
            answer = _accepted(self.post("/v1/recommend/for_you", {"user": user, "n": 3}), 200)
            outcome = {"prediction_id": answer["prediction_id"], "item": item, "what": "click"}
            _accepted(self.post("/v1/outcomes", [outcome]), 202)
        self.ask()

    def ask(self) -> list[Any]:
        """What it answers: the items for each user, and the prediction; or the code of the refusal."""
        found: list[Any] = []
        for number, user in enumerate(USERS):
            one = self.post("/v1/recommend/for_you", {"user": user, "n": 4})
            found.append([item["item"] for item in one.content["items"]] if one.status == 200 else _refusal(one))
            fields = [("user_id", "BYTES", user), ("item_id", "BYTES", f"i{number}")]
            tensors = [{"name": name, "shape": [1], "datatype": kind, "data": [value]} for name, kind, value in fields]
            one = self.post("/v2/models/stars/infer", {"inputs": tensors})
            found.append(one.content["outputs"][0]["data"] if one.status == 200 else _refusal(one))
        return found

    def post(self, path: str, body: Any) -> Exchange:
        """One request."""
        return exchange(self.site.server, path, body)

    def close(self) -> None:
        """Stop it; the log writer writes what was logged."""
        self.site.close()
        self._swaps.close()
        self._log.close()


def write_log(project: Project) -> None:
    """What the server's log writer does when it stops."""
    with contextlib.suppress(TidemillError, OSError):  # it waits
        server_processes._write_all(load(project.path, environ={}), threading.Event(), last=True)


def ask(project: Project) -> tuple[list[Any], list[str]]:
    """Start a server, ask it, and stop it; with what `status` says while it runs."""
    server = Server(project)
    try:
        answers = server.ask()
        with contextlib.suppress(TidemillError):
            return answers, [item.what for item in status(*project.open()).action_items]
        return answers, []
    finally:
        server.close()
        write_log(project)


def _refusal(one: Exchange) -> str:
    content = one.content["error"]
    return f"{one.status} {content if isinstance(content, str) else content['code']}"[:40]
