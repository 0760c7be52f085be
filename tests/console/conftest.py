"""A mill with a plausible life, on a real ledger, real releases and the files of a server that this process plays."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from runs_to_show import evaluation, measured, searched

from tidemill.backends.folder_blobs import FolderBlobs
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.console import ConsoleStores, create_app
from tidemill.core.clock import FixedClock, as_of, to_micros
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.ingest import Failure, Increment, Publication, RowCounts, Verdict
from tidemill.core.records.prediction import Outcome, Prediction, ScoredItem
from tidemill.core.records.quality import Evaluation
from tidemill.core.records.release import Card, Release, Rule, RuleSet
from tidemill.feedback.log_tables import outcome_rows, prediction_rows
from tidemill.lake import LogWindow
from tidemill.release import Releases
from tidemill.serving.live.kill_switch import heal_switch
from tidemill.serving.live.state_files import write_state
from tidemill.serving.process.server_state import ServerState
from tidemill.serving.process.worker_site import WorkerReport
from tidemill.training.runs.runs import Runs

START = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
RULES = RuleSet(
    retrieve=(Rule(name="nearest", args={"n": 200}), Rule(name="trending", args={"days": 7, "n": 100})),
    filter=(Rule(name="unseen"), Rule(name="eligible", args={"column": "in_stock", "missing": True, "view": "facts"})),
    order=(Rule(name="diverse", args={"column": "category", "strength": 0.7, "view": "facts"}),),
    fallback=Rule(name="popular", args={"days": 30, "n": 100}),
)


class Mill:
    """Stores of a mill, and the acts that fill them."""

    def __init__(self, root: Path, name: str = "magazines") -> None:
        self.root = root
        self.name = name
        self.clock = FixedClock(START)
        self.lines = SqliteLedger(root / "ledger.sqlite")
        self.ledger = Ledger(self.lines, Keys.open(root / "keys", create=True), self.clock, Account(name="mara"))
        self.serving = root / "serving"
        self.runs = Runs(self.ledger, self.clock)
        self.releases = Releases(FolderBlobs(root / "blobs"), self.ledger, self.serving, self.clock)
        self.tables: dict[str, pa.Table] = {}
        self.problems: list[str] = []
        self.numbers: dict[str, int] = {}
        self.publications = 0

    def promote(self, name: str, **more: Any) -> Release:
        """Go live, with the switch that comes with it."""
        release = self.releases.promote(name, **more)
        heal_switch(self.serving, release.model, self.ledger)
        return release

    def stores(self, **more: Any) -> ConsoleStores:
        given: dict[str, Any] = {"models": ["for_you"], "table": self.logged, "problems": lambda: self.problems}
        given["runs"] = self.runs
        return ConsoleStores(
            mill_name=self.name,
            ledger=self.ledger,
            releases=self.releases,
            serving_root=self.serving,
            clock=self.clock,
            **(given | more),
        )

    def logged(self, table: str, window: LogWindow | None = None) -> pa.Table | None:
        rows = self.tables.get(table)
        return rows.select(window.columns) if window and rows is not None else rows

    def later(self, **by: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**by))

    def open(self) -> None:
        self.ledger.append("open", about=f"mill:{self.name}", details={"mill": self.name, "id": "0f3a"})

    def increment(self, stream: str, day: date, rows: int = 40, **more: Any) -> Increment:
        self.numbers[stream] = self.numbers.get(stream, 0) + 1
        given: dict[str, Any] = {"number": self.numbers[stream], "backfill": False}
        return Increment(
            stream=stream,
            day=day,
            as_of=to_micros(as_of(day)),
            arrived_at=to_micros(self.clock.now()),
            first_event=to_micros(as_of(day)) - 80_000_000_000,
            last_event=to_micros(as_of(day)) - 1,
            counts=RowCounts(arrived=rows, refused=0, repeated=1, contradicted=0, merged=rows - 1),
            positions={"1": rows},
            commitment="c" * 64,
            **(given | more),
        )

    def publish(self, increment: Increment, verdict: Verdict | None = None) -> None:
        self.publications += 1
        made = Publication(
            number=self.publications,
            as_of=increment.as_of,
            stream=increment.stream,
            increment=increment.number,
            verdict=verdict or Verdict(outcome="pass", checked=6),
            versions={"reviews": self.publications, "ratings": self.publications, "items": 3},
            manifests={},
        )
        self.ledger.append(
            "publish",
            about=f"stream:{increment.stream}",
            refs_out=[f"publication:{self.name}@{made.number}"],
            details={"increment": increment.json(), "publication": made.json()},
        )

    def hold(self, increment: Increment, *failures: Failure) -> None:
        self.ledger.append(
            "hold",
            about=f"stream:{increment.stream}",
            details={
                "increment": increment.json(),
                "verdict": Verdict(outcome="hold", failures=failures, checked=6).json(),
                "file": "held",
                "sha256": "0" * 64,
                "number": increment.number,
            },
        )

    def fill(self, view: str, rows: int) -> None:
        self.ledger.append("features", about=f"view:{view}", details={"publication": self.publications, "rows": rows})

    def learn(self, model: str, seed: int, day: date, evaluation: Evaluation | None, **more: Any) -> Release:
        folder = self.root / f"made-{model}-{seed}"
        folder.mkdir()
        np.save(folder / "vectors.npy", np.full((4, 2), seed, np.float32))
        bundle = self.releases.keep(folder)
        self.ledger.append("learn", about=f"model:{model}", refs_out=[f"bundle:{model}@{bundle}"])
        return self.release(model, bundle, day, evaluation, **more)

    def release(self, model: str, bundle: str, day: date, evaluation: Evaluation | None, **more: Any) -> Release:
        given: dict[str, Any] = {
            "helps": "Readers find magazines they would not have looked for.",
            "could_harm": "Narrow choice; crowding out small publishers.",
            "learner": "cooccurrence",
            "parameters": {"half_life_days": 365.0, "neighbours": 200, "popularity_share": 0.2, "factors": 64},
        }
        rules = more.pop("rules", RULES)
        card = Card(
            model=model,
            evaluation=evaluation,
            data={"ratings": self.publications, "items": 3},
            n_rows=88_318,
            n_users=72_098,
            n_items=2_428,
            learned_at=to_micros(self.clock.now()),
            as_of=to_micros(as_of(day)),
            **(given | more),
        )
        return self.releases.create(
            model,
            bundle,
            rules,
            card,
            facts={"facts": ("in_stock", "category")},
            code="4be1c09d" * 8,
            commit="9c1f07a2b8d3",
            environment="77ac01fe" * 8,
        )

    def serve(
        self, live: dict[str, str], *, promoted: dict[str, str] | None = None, state: str = "live", why: str = ""
    ) -> None:
        """The files of a server whose workers are this process and its parent."""
        now = to_micros(self.clock.now())
        write_state(
            self.serving / "server.json",
            ServerState(
                pid=os.getpid(), host="127.0.0.1", port=8400, console_port=8401, state="up", workers=2, since=now
            ),
        )
        for place, pid in enumerate((os.getpid(), os.getppid())):
            write_state(
                self.serving / "workers" / f"{pid}.json",
                WorkerReport(pid=pid, place=place, live=live, failed={}, since=now),
            )
        for model, release in live.items():
            wanted = (promoted or live)[model]
            said = {"wanted": wanted, "serving": release, "state": state, "why": why}
            write_state(self.serving / model / "state.json", said)

    def log(self, table: str, rows: pa.Table) -> None:
        self.tables[table] = rows
        self.ledger.append(
            "log",
            about=f"table:{table}",
            details={"number": 1, "version": 1, "rows": rows.num_rows, "sources": "{}", "manifest": "0"},
        )

    def feed_back(self, n: int = 600) -> None:
        """Answers of two releases, taken less the further down they stand."""
        chance = random.Random(7)
        predictions, outcomes = [], []
        for k in range(n):
            release = f"for_you@{1 + (k % 3 > 0)}"
            items = tuple(
                ScoredItem(item=f"B{chance.randrange(10**6):06}", score=1 - p / 10, reason="nearest") for p in range(10)
            )
            name = f"p{k:05}"
            predictions.append(
                Prediction(
                    prediction_id=name,
                    model="for_you",
                    release=release,
                    arm="champion",
                    policy="single",
                    propensity=1.0,
                    served_at=to_micros(self.clock.now()),
                    as_of=to_micros(START),
                    subject="s",
                    n=10,
                    items=items,
                    short=None,
                    features="{}",
                    context="{}",
                    latency_us=410,
                    kind="computed",
                )
            )
            for position, answered in enumerate(items):
                if chance.random() < 0.11 / (1 + 0.35 * position) * (1.2 if release.endswith("2") else 0.9):
                    at = to_micros(self.clock.now())
                    outcomes.append(
                        Outcome(
                            prediction_id=name,
                            item=answered.item,
                            what="read",
                            value=1.0,
                            happened_at=at,
                            received_at=at,
                        )
                    )
        self.log("predictions", prediction_rows(predictions))
        self.log("outcomes", outcome_rows(outcomes))


OUT_OF_RANGE = Failure(
    table="reviews",
    check='between("rating", 1, 5, share=0.95)',
    column="rating",
    n=61,
    observed=0.705,
    low=0.95,
    high=1.0,
    false_alarms=None,
    severity="hold",
    says="70.5% of 61 ratings lie between 1 and 5; at least 95% are expected.",
)
DOUBLED = Failure(
    table="reviews",
    check="repeated_share(at_most=0.2)",
    column=None,
    n=61,
    observed=0.44,
    low=None,
    high=0.2,
    false_alarms=None,
    severity="hold",
    says="44.3% of 61 rows repeat a key; at most 20% are expected.",
)
BUSY = Failure(
    table="reviews",
    check='like_history("row_count")',
    column=None,
    n=400,
    observed=71.0,
    low=4.0,
    high=52.0,
    false_alarms=0.033,
    severity="warn",
    says="71 rows came; on 97% of days it was between 4 and 52.",
)


def lived(root: Path, name: str = "magazines") -> Mill:
    """Thirty days of a shop: one held, two models learned and promoted, one candidate, predictions and outcomes."""
    mill = Mill(root, name)
    mill.open()
    first = date(2018, 8, 21)
    mill.publish(mill.increment("items", first, 2_430))
    mill.publish(mill.increment("reviews", first - timedelta(days=1), 88_467, backfill=True))
    mill.fill("facts", 2_428)
    mill.later(minutes=3)
    one = mill.learn("for_you", 1, first, evaluation(0.081))
    mill.later(seconds=40)
    mill.promote(one.name)
    for k in range(30):
        mill.later(minutes=31)
        day = first + timedelta(days=k)
        if k == 17:
            mill.hold(mill.increment("reviews", day, 61), OUT_OF_RANGE, DOUBLED)
            continue
        verdict = Verdict(outcome="warn", failures=(BUSY,), checked=6) if k in (4, 22) else None
        mill.publish(mill.increment("reviews", day, 9 + (k * 7) % 40), verdict)
        if k == 20:
            two = mill.learn("for_you", 2, day, evaluation(0.0935))
            mill.later(seconds=20)
            mill.promote(two.name)
            mill.later(minutes=4)
            mill.releases.rollback("for_you")
            mill.later(minutes=6)
            mill.promote(two.name)
    mill.fill("taste", 72_098)
    mill.fill("for_you.items", 2_428)
    mill.later(minutes=2)
    fewer = RuleSet(retrieve=(Rule(name="nearest", args={"n": 50}),), filter=RULES.filter, fallback=RULES.fallback)
    mill.release("for_you", two.bundle, first + timedelta(days=20), evaluation(0.088), rules=fewer)
    mill.serve({"for_you": two.name})
    mill.later(minutes=1)
    mill.feed_back()
    mill.later(seconds=25)
    return mill


def tried(root: Path) -> Mill:
    """A mill that has lived, with runs that learned its releases, a search, one that failed and one under way."""
    mill = lived(root)
    data = {"ratings": 31, "items": 3}
    about: dict[str, Any] = {"code": "4be1c09d" * 8, "environment": "77ac01fe" * 8, "commit": "9c1f07a2b8d3" + "0" * 28}
    for number, warm in ((1, 0.081), (2, 0.0935)):
        settings = {"half_life": f"{180 * number} days", "neighbours": 200, "parts": {"ease": {"l2": 5.0}}}
        with mill.runs.begin(
            "for_you", "train", learner="cooccurrence", parameters=settings, data=data | {"ratings": 20 + number},
            as_of=to_micros(as_of(date(2018, 9, 9 + number))), changed=number == 2, **about,
        ) as run:  # fmt: skip
            for step in range(60):
                mill.later(seconds=1)
                run.log(
                    step, **{"loss": 2.0 * 0.93**step + 0.3 + 0.02 * (step % 3), "hit_rate@10": warm * (1 - 0.9**step)}
                )
            run.keep("release", f"release:for_you@{number}")
            run.finish(measured(warm), notes=["Users with one event were left out."])
        mill.later(hours=2)
    with mill.runs.begin("for_you", "search", learner="auto", data=data, as_of=to_micros(as_of(date(2018, 9, 11))),
                         **about) as run:  # fmt: skip
        for trial in searched(90):
            mill.later(seconds=4)
            run.trial(trial)
        run.finish(measured(0.104))
    mill.later(minutes=20)
    failed = mill.runs.begin("for_you", "train", learner="als", data=data, **about)
    mill.later(seconds=5)
    failed.fail("the table `ratings` has 3 rows, and at least 50 are needed")
    with mill.runs.begin("similar", "notebook", learner="ease") as run:
        run.finish({"log_loss": 0.31})
    going = mill.runs.begin("for_you", "refresh", learner="blend", parameters={"rounds": 400}, data=data,
                            as_of=to_micros(as_of(date(2018, 9, 19))), **about)  # fmt: skip
    for step in range(25):
        mill.later(seconds=1)
        going.log(step, **{"valid.auc": 0.6 + 0.2 * (1 - 0.9**step), "train.loss": 0.7 * 0.97**step})
    going._write_points()
    mill.later(seconds=3)
    return mill


@dataclass
class Reply:
    """What an ASGI application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app: Any, path: str, method: str = "GET", headers: list[tuple[str, str]] | None = None) -> Reply:
    """One request to an ASGI application, as a server would make it."""
    path, _, query = path.partition("?")
    given = (
        [("host", "127.0.0.1:8401"), *(headers or [])] if not any(n == "host" for n, _ in headers or []) else headers
    )
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given or []],
        "server": ("127.0.0.1", 8401),
        "client": ("127.0.0.1", 5),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Reply(start["status"], {n.decode(): v.decode() for n, v in start["headers"]}, body)


@pytest.fixture
def mill(tmp_path: Path) -> Mill:
    """An empty mill."""
    return Mill(tmp_path)


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """A mill that has lived; tests do not change it."""
    return lived(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """A mill with runs of every kind; tests do not change it."""
    return tried(tmp_path_factory.mktemp("busy"))


@pytest.fixture
def get() -> Callable[..., Reply]:
    """`get(house, path)`: one request to the console over a house."""

    def get(stores: ConsoleStores, path: str = "/", **more: Any) -> Reply:
        return ask(create_app(stores), path, **more)

    return get


@pytest.fixture
def asks() -> Callable[..., Reply]:
    """`asks(app, path)`: one request to a console that is asked more than once."""
    return ask
