"""Makes `tests/formats/1/`: a small mill of the formats of commit 9d18a8c, with one file for each kind of record.

    git worktree add OLD 9d18a8c      # and install it into an environment of its own, OLD/.venv
    OLD/.venv/bin/python tests/formats/make_1.py

It runs with that commit's code only, and is kept to tell how the files came to be: they are not made again. What it
leaves is kept for years, so nothing in it may name a machine or a person.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from tidemill.core.posted import Posted
from tidemill.core.segments import read, segments

from tidemill.core.clock import SystemClock
from tidemill.core.records import Outcome, Prediction
from tidemill.serving import switch

HERE = Path(__file__).parent / "1"
FIRST = date(2024, 1, 1)
TIDEMILL = Path(sys.executable).parent / "tidemill"
#: Where the mill is made: pointers of this format name their bundles by absolute paths, so the tests replace it.
ROOT = Path("/srv/tidemill-formats")
#: Files that are made again, or belong to a process, and so are not kept.
_PASSING = ("*.lock", "workers", "*.partial", "lock.mdb")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def seconds(at: date, hour: int = 0) -> int:
    return int(datetime(at.year, at.month, at.day, hour, tzinfo=UTC).timestamp())


class Maker:
    """A project in `root`/mill, its keys beside it, and a server while there is one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "mill"
        self.server: subprocess.Popen[bytes] | None = None
        #: What the mill's server answered, and what else the tests hold the kept files against.
        self.expected: dict[str, Any] = {}

    def __call__(self, *words: str, fine: tuple[int, ...] = (0,), **env: str) -> str:
        done = subprocess.run(
            [TIDEMILL, *words, "--project", self.project], capture_output=True, text=True, env=os.environ | env
        )
        print("tidemill", *words, "->", done.returncode, flush=True)
        if done.returncode not in fine:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout

    def write(self, name: str, lines: list[str]) -> None:
        (self.project / "data" / name).write_text("".join(f"{line}\n" for line in lines))

    def reviews(self, number: int, *, twice: bool = False, broken: bool = False) -> None:
        """A day's file; `twice` makes it one that is held, `broken` has one line without a rating in range."""
        rows = []
        for i in range(96 if number < 8 else 24):  # a history long enough for a search to have something to choose by
            n = number * 96 + i
            rating = 99 if broken and i == 7 else 1 + n % 5
            rows.append(f"i{(n * 5 + number) % 12},u{(n * 7) % 110},{rating},{seconds(day(number), i % 24)}")
        self.write(f"reviews-{number:02}.csv", [row for row in rows for _ in range(2 if twice else 1)])

    def begin(self) -> None:
        (self.project / "data").mkdir(parents=True)
        for name in ("mill.py", "tidemill.toml"):
            shutil.copy(HERE / name, self.project / name)
        item = '{{"item_id": "i{0}", "updated_at": "2023-12-31T00:00:00Z", "category": "c{1}", "in_stock": {2}}}'
        self.write("items.jsonl", [item.format(i, i % 3, "false" if i == 5 else "true") for i in range(12)])
        self.customers("customers.csv", range(240))
        for number in range(8):
            self.reviews(number)
        self("run", "--until", str(day(7)), "--backfill")

    def customers(self, name: str, numbers: range) -> None:
        rows = ["customer_id,plan,tenure,charge,churned"]
        for n in numbers:
            leaves = "yes" if (n * 37) % 100 < (70 if n % 3 == 0 else 20) else "no"
            rows.append(f"c{n},{('month', 'year', 'long')[n % 3]},{(n * 13) % 60},{20 + (n * 7) % 80},{leaves}")
        self.write(name, rows)

    def learn(self) -> None:
        self("train", "for_you")
        self("train", "churn")
        self("promote", "for_you@1")
        self("promote", "churn@1")
        self("evaluate", "for_you")
        self("features", "--significance")

    def live(self) -> None:
        """Days one by one: a line is refused, one day is held and accepted, another one stays held."""
        for number in range(8, 12):
            self.reviews(number, twice=number in (9, 11), broken=number == 10)
            self("run", "--until", str(day(number)), fine=(0, 3))
            if number == 9:
                reason = "the producer sent the file twice, the rows are right"
                held = json.loads(self("check", "reviews", "--json", fine=(0, 3)))[-1]["number"]
                self("check", "reviews", "--accept", str(held), "--by", "Ada", "--reason", reason)

    def serve(self) -> None:
        self.server = subprocess.Popen(
            [TIDEMILL, "serve", "--project", self.project, "--no-console", "--at", str(day(11))],
            stdout=subprocess.DEVNULL,
            stderr=(self.root / "server.log").open("ab"),
        )
        file = self.project / ".tidemill" / "serving" / "server.json"
        for _ in range(600):
            told = json.loads(file.read_bytes()) if file.exists() else {}
            if told.get("pid") == self.server.pid and told["state"] == "up":
                self.port = told["port"]
                return
            time.sleep(0.1)
        raise SystemExit("the server did not come up")

    def stop(self, *, killed: bool = False) -> None:
        assert self.server is not None
        if killed:
            for file in (self.project / ".tidemill" / "serving" / "workers").glob("*.json"):
                if file.stem.isdigit():
                    os.kill(int(file.stem), signal.SIGKILL)
        self.server.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
        self.server.wait(60)

    def ask(self, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{path}: {answer.status} {content!r}")
        return json.loads(content)

    def answers(self) -> list[dict[str, Any]]:
        """Questions to both models, and what they answer."""
        customer = [
            {"name": "plan", "shape": [2], "datatype": "BYTES", "data": ["month", None]},
            {"name": "tenure", "shape": [2], "datatype": "INT64", "data": [3, 41]},
            {"name": "charge", "shape": [2], "datatype": "FP64", "data": [70.5, 20.0]},
        ]
        questions = [("/v1/recommend/for_you", {"user": user, "n": 5}) for user in ("u1", "u2", "nobody")]
        questions.append(("/v2/models/churn/infer", {"inputs": customer}))
        return [{"path": path, "body": body, "answer": self.ask(path, body)} for path, body in questions]

    def outcomes(self, answers: list[dict[str, Any]]) -> None:
        for one in answers[:2]:
            said = {"prediction_id": one["answer"]["prediction_id"], "item": one["answer"]["items"][0]["item"]}
            self.ask("/v1/outcomes", said | {"what": "click", "value": 1.0})

    def post(self, *users: str) -> None:
        at = datetime(2024, 1, 12, 15, tzinfo=UTC).isoformat()
        self.ask(
            "/v1/events/reviews",
            [{"user_id": user, "item_id": "i3", "rating": 5.0, "reviewed_at": at} for user in users],
        )

    def server_days(self) -> None:
        """A server that stops in order, so that its log is taken into the lake; a day; and one that is killed."""
        self.serve()
        self.outcomes(self.answers())
        self.post("from-the-web-1", "u4")
        self.stop()
        self("features", "--skew", "churn")
        self.reviews(12)
        self("off", "for_you", "--why", "to show the switch")
        self("on", "for_you", "--why", "shown")
        self("run", "--until", str(day(12)))
        self("train", "for_you")
        newest = json.loads(self("train", "for_you", "--rules-only", "--json"))["release"]
        self("promote", newest)
        self("rollback", "for_you")
        self.serve()
        writers = subprocess.run(["pgrep", "-P", str(self.server.pid)], capture_output=True, text=True).stdout.split()
        for pid in writers:  # the log writer, so that what follows stays in its segments
            if b"log_writer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGSTOP)
                stopped = int(pid)
        self.post("from-the-web-2")
        found = self.answers()
        self.outcomes(found)
        self.expected["answers"] = found
        self.stop(killed=True)
        os.kill(stopped, signal.SIGKILL)
        time.sleep(1)

    def torn(self) -> None:
        """What a kill in the middle of a write leaves at the end of a segment."""
        newest = segments(self.project / ".tidemill" / "log" / "predictions")[-1]
        with newest.open("ab") as file:
            file.write(b"\xff\x00\x00\x00torn")

    def spool(self) -> None:
        """The switch thrown while the ledger is away: its line waits."""
        root = self.project / ".tidemill" / "serving"
        for model, off in (("for_you", True), ("for_you", False), ("churn", True)):
            switch(root, model, off=off, who="ada", why="the ledger is away", clock=SystemClock(), ledger=None)

    def intent(self) -> None:
        """A run that is killed between the tables and the ledger: who opens the mill next finishes it."""
        self.reviews(13)
        self("run", "--until", str(day(13)), fine=(-signal.SIGKILL,), TIDEMILL_FAILPOINT="publish.committed")

    def count(self) -> None:
        """What the mill says of itself, and every row of its tables."""
        said = json.loads(self("status", "--json"))
        self.expected["streams"] = {one["name"]: [one["increments"], one["rows"]] for one in said["streams"]}
        self.expected["held"] = {one["name"]: one["held"] for one in said["streams"] if one["held"]}
        self.expected["champions"] = {one["name"]: one["champion"] for one in said["models"]}
        self.expected["releases"] = {one["name"]: one["releases"] for one in said["models"]}
        self.expected["tables"] = said["tables"]
        self.expected["lines"] = json.loads(self("audit", "verify", "--json"))["lines"]
        self("lake", "verify")
        log = self.project / ".tidemill" / "log"
        self.expected["waiting"] = {
            table: sum(1 for segment in segments(log / table) for _ in read(segment))
            for table in ("predictions", "outcomes")
        }
        self.expected["prediction_ids"] = sorted(
            msgspec.msgpack.decode(frame.payload, type=Prediction).prediction_id
            for segment in segments(log / "predictions")
            for frame in read(segment)
        )


def records(state: Path, into: Path) -> None:
    """One file for each kind of record: JSON as it lies in the mill, and frames of segments as JSON."""
    into.mkdir()
    lines = [json.loads(body) for (body,) in sqlite3.connect(state / "ledger.sqlite").execute("select body from lines")]

    def detail(name: str, act: str, key: str) -> None:
        found = [line["details"][key] for line in lines if line["act"] == act and line["details"].get(key)]
        (into / f"{name}.json").write_text(found[-1] + "\n")

    def frame(name: str, folder: str, kind: type[Any]) -> None:
        payload = next(iter(read(segments(state / folder)[-1]))).payload
        (into / f"{name}.json").write_bytes(msgspec.json.encode(msgspec.msgpack.decode(payload, type=kind)) + b"\n")
        (into / f"{name}.msgpack").write_bytes(payload)

    def file(name: str, pattern: str) -> None:
        shutil.copy(max(state.glob(pattern)), into / f"{name}.json")

    for line in {line["act"]: line for line in lines}.values():
        (into / f"line-{line['act'].replace(' ', '-')}.json").write_text(json.dumps(line, sort_keys=True) + "\n")
    for name, act, key in (
        ("publication", "publish", "publication"), ("increment", "publish", "increment"), ("files", "publish", "files"),
        ("verdict", "hold", "verdict"), ("release", "release", "release"), ("card", "learn", "card"),
        ("signature", "learn", "signature"), ("dataset", "dataset", "dataset"), ("run", "run-end", "run"),
        ("points", "run-points", "points"), ("trial", "trial", "trial"),
    ):  # fmt: skip
        detail(name, act, key)
    frame("prediction", "log/predictions", Prediction)
    frame("outcome", "log/outcomes", Outcome)
    frame("posted", "events/reviews", Posted)
    for name, pattern in (
        ("pointer", "serving/for_you/live.json"), ("policy", "serving/for_you/policy.json"),
        ("swap", "serving/for_you/serving.json"), ("swap-state", "serving/for_you/state.json"),
        ("identity", "mill.json"), ("server", "serving/server.json"), ("replay", "serving/clock.json"),
        ("served-streams", "serving/streams.json"), ("declared-features", "serving/features.json"),
        ("significance", "serving/significance.churn.json"), ("skew", "serving/skew.churn.json"),
        ("checkpoint", "checkpoints/*.json"), ("table-manifest", "lake/_tidemill/manifests/ratings/*.json"),
        ("intent", "lake/_tidemill/intents/*.json"), ("bundle-manifest", "blobs/bundle:*/manifest.json"),
        ("environment", "blobs/environment:*/environment.json"), ("counts", "learning/for_you/*/counts.json"),
        ("mapped-rows", "latest/views/facts/*/about.json"),
    ):  # fmt: skip
        file(name, pattern)
    waiting = (state / "serving" / "spool.jsonl").read_text().splitlines()
    (into / "waiting.json").write_text(waiting[-1] + "\n")


def main(root: Path) -> None:
    root.mkdir(parents=True)
    make = Maker(root)
    make.begin()
    make.learn()
    make.live()
    make.server_days()
    make.torn()
    make.count()
    make.intent()
    make.spool()
    keep(make)


def keep(make: Maker) -> None:
    """Leave what was made in `tests/formats/1/`."""
    root, state = make.root, make.project / ".tidemill"
    for pattern in _PASSING:
        for passing in state.rglob(pattern):
            shutil.rmtree(passing) if passing.is_dir() else passing.unlink()
    (HERE / "expected.json").write_text(json.dumps(make.expected, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(HERE / "records", ignore_errors=True)
    records(state, HERE / "records")
    with tarfile.open(HERE / "mill.tar.gz", "w:gz", compresslevel=9) as tar:
        for folder in ("mill", "keys"):
            tar.add(root / folder, arcname=folder, filter=nobody)


def nobody(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if "__pycache__" in member.name else member


if __name__ == "__main__":
    main(ROOT)
