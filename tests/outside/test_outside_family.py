"""An outsider's model family through a whole life: trained, evaluated, promoted, served, reproduced."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from outside_package import put_package

from tidemill.core.clock import SystemClock
from tidemill.core.settings import load
from tidemill.loop.project.stores import open_stores

TIDEMILL = str(Path(sys.executable).parent / "tidemill")
MILL = """
from datetime import datetime

from quantiles import Quantiles

import tidemill as tm

mill = tm.Mill("rides")


class Ride(tm.Event):
    ride_id: str
    started: datetime = tm.event_time()
    zone: str
    minutes: float


rides = mill.stream("rides", Ride, key="ride_id")
mill.model(
    "minutes", examples=rides, target="minutes", inputs=["zone"], learn=Quantiles(by="zone"), slices=["zone"],
    helps="Passengers.", could_harm="Drivers.",
)
"""
#: Zone -> minutes of a typical ride.
TYPICAL = {"airport": 60.0, "centre": 10.0, "harbour": 25.0}

pytestmark = pytest.mark.slow


def environment(outside: Path | None) -> Mapping[str, str]:
    return dict(os.environ) | ({"PYTHONPATH": str(outside)} if outside else {})


def typed(project: Path, *words: str, outside: Path | None) -> subprocess.CompletedProcess[str]:
    """A command, with the outsider's package installed or without it."""
    return subprocess.run(
        [TIDEMILL, *words], cwd=project, env=environment(outside), capture_output=True, text=True, timeout=300
    )


def asked(project: Path, *words: str, outside: Path) -> Any:
    done = typed(project, *words, "--json", outside=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def put_rides(project: Path, name: str, n: int, first: datetime) -> None:
    rng = random.Random(name)
    lines = ["ride_id,started,zone,minutes"]
    for i in range(n):
        zone = rng.choice(list(TYPICAL))
        at = first + timedelta(minutes=30 * i)
        lines.append(f"{name}{i},{at:%Y-%m-%dT%H:%M:%SZ},{zone},{TYPICAL[zone] * rng.uniform(0.8, 1.2):.6f}")
    (project / "data" / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_package(tmp_path_factory.mktemp("site") / "outside", page="families.md", module="quantiles")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> Path:
    """A project whose only model is of the outsider's family, trained and promoted."""
    base = tmp_path_factory.mktemp("outside_family")
    path = base / "rides"
    (path / "data").mkdir(parents=True)
    (path / "mill.py").write_text(MILL)
    (path / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n'
        '[laptop.sources]\nrides = "file:data/*.csv?header=true"\n'
    )
    put_rides(path, "a", 600, datetime(2026, 3, 1, tzinfo=UTC))
    asked(path, "run", "--until", "2026-03-14", outside=outside)
    return path


@pytest.fixture(scope="module")
def learned(project: Path, outside: Path) -> Any:
    found = asked(project, "train", "minutes", outside=outside)
    asked(project, "promote", "minutes@1", outside=outside)
    return found


def test_a_training_evaluates_it_against_the_baseline_by_slice(learned: Any) -> None:
    card = learned["card"]
    assert (learned["release"], card["learner"], card["parameters"]) == (
        "minutes@1", "quantiles", {"by": "zone", "share": 0.8},
    )  # fmt: skip
    found = card["assessment"]
    assert (found["measure"], found["n_test"]) == ("mae", 120)
    assert found["scores"][0]["difference"]["high"] < -5
    assert {part["users"] for part in found["slices"]} >= set(TYPICAL)
    assert found["warnings"] == []


def test_the_same_rows_are_not_trained_again_and_other_settings_are(project: Path, outside: Path, learned: Any) -> None:
    again = asked(project, "train", "minutes", outside=outside)
    assert (again["release"], again["anew"]) == ("minutes@1", False)


def test_plan_status_and_runs_show_it(project: Path, outside: Path, learned: Any) -> None:
    (step,) = [one for one in asked(project, "plan", outside=outside) if one["what"] == "minutes"]
    assert (step["kind"], step["why"][:12]) == ("model", "trained once")
    status = asked(project, "status", outside=outside)
    assert [model["champion"] for model in status["models"]] == ["minutes@1"]
    assert asked(project, "compare", "minutes", outside=outside)[-1]["learner"] == "quantiles"


def test_it_is_reproduced_with_its_package(project: Path, outside: Path, learned: Any) -> None:
    done = typed(project, "reproduce", "minutes@1", "--here", outside=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bitwise" in done.stdout


def test_every_version_of_code_and_data_is_measured(project: Path, outside: Path, learned: Any) -> None:
    done = typed(project, "versions", "minutes", outside=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quantiles" in done.stdout


@pytest.mark.parametrize("words", [("train", "minutes"), ("evaluate", "minutes"), ("reproduce", "minutes@1", "--here")])
def test_without_its_package_it_is_refused_by_name(project: Path, learned: Any, words: tuple[str, ...]) -> None:
    done = typed(project, *words, outside=None)
    assert done.returncode != 0
    assert "quantiles" in done.stdout + done.stderr


def test_an_export_and_an_import_say_why_not(project: Path, outside: Path, learned: Any) -> None:
    done = typed(project, "export", "minutes@1", "out", outside=outside)
    assert done.returncode != 0 and "only tabular models can be exported" in done.stderr
    (project / "card.json").write_text(
        '{"helps": "x", "could_harm": "y", "source": "z", "licence": "MIT", "revision": "1"}'
    )
    (project / "m.txt").write_text("tree\nversion=v4\n")
    done = typed(project, "import", "minutes", "m.txt", outside=outside)
    assert done.returncode != 0 and "a model of the family quantiles cannot be imported" in done.stderr


@pytest.fixture(scope="module")
def served(project: Path, outside: Path, learned: Any) -> Iterator[str]:
    state = project / ".tidemill" / "serving" / "server.json"
    environ = {**environment(outside), "TIDEMILL_SERVE__CONSOLE_PORT": "0"}
    with (project.parent / "server.txt").open("wb") as log:
        server = subprocess.Popen([TIDEMILL, "serve", "--port", "0"], cwd=project, env=environ, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{_port(server, state)}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def _port(server: subprocess.Popen[bytes], state: Path) -> int:
    for _ in range(600):
        told = json.loads(state.read_bytes()) if state.exists() else {}
        if told.get("pid") == server.pid and told["state"] == "up":
            return int(told["port"])
        assert server.poll() is None
        time.sleep(0.1)
    raise AssertionError("the server did not come up")


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def infer(served: str, zones: list[str]) -> Any:
    tensor = {"name": "zone", "shape": [len(zones)], "datatype": "BYTES", "data": zones}
    return post(f"{served}/v2/models/minutes/infer", {"inputs": [tensor]})


@pytest.mark.parametrize("n", [1, 40])  # one by one, and as a table
def test_a_server_answers_with_all_its_outputs(served: str, n: int) -> None:
    told = infer(served, ["airport"] * n)
    outputs = {tensor["name"]: tensor["data"] for tensor in told["outputs"]}
    assert list(outputs) == ["value", "low", "high"]
    for low, value, high in zip(outputs["low"], outputs["value"], outputs["high"], strict=True):
        assert 48 <= low < value < high <= 72
    assert told["parameters"]["release"] == "minutes@1" and told["parameters"]["logged"]


def test_its_predictions_reach_the_lake(project: Path, served: str) -> None:
    name = infer(served, ["harbour"])["parameters"]["prediction_ids"]
    stores = open_stores(project, load(project, environ={}), SystemClock())
    found: list[dict[str, Any]] = []
    for _ in range(120):
        log = stores.lake.log("predictions")
        found = [row for row in log.to_pylist() if row["prediction_id"] == name] if log is not None else []
        if found:
            break
        time.sleep(0.5)
    assert [row["release"] for row in found] == ["minutes@1"]
    assert found[0]["items"] == ["minutes", "low", "high"]


def test_rows_that_arrived_since_are_evaluated(project: Path, outside: Path, learned: Any) -> None:
    put_rides(project, "b", 200, datetime(2026, 3, 15, tzinfo=UTC))
    asked(project, "run", "--until", "2026-03-20", outside=outside)
    found = asked(project, "evaluate", "minutes", "--by", "zone", outside=outside)
    assert found["what"] == "minutes@1" and found["assessment"]["n_test"] >= 190
