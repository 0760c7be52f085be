"""The churn template's whole life, as a person lives it: rows, a release, a server that a stock client asks, and back.

IBM's Telco customers where they are at hand, made-up ones otherwise.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from conftest_loop import Project
from tabular_projects import change, made_up
from tests.conftest import test_data

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import SystemClock
from tidemill.core.records.signature import InputField
from tidemill.feedback import realised_rates
from tidemill.loop.examples.datasets import dataset_named, rebuild_dataset
from tidemill.models.tabular import TabularModel, open_tabular
from tidemill.serving.process.server_state import ServerState

pytestmark = pytest.mark.slow
lightgbm: Any = pytest.importorskip("lightgbm", exc_type=ImportError)
triton: Any = pytest.importorskip("tritonclient.http", exc_type=ImportError)
utils: Any = pytest.importorskip("tritonclient.utils")

#: The learner of the first release, fitted once more below, by hand.
TREES: dict[str, Any] = {"n_estimators": 60, "num_leaves": 15, "learning_rate": 0.08, "verbose": -1, "n_jobs": 1}
LEARN = f'learn=__import__("lightgbm").LGBMClassifier(**{TREES!r})'
TIDEMILL = Path(sys.executable).parent / "tidemill"
DATATYPE = {"float": "FP64", "int": "INT64", "bool": "BOOL", "str": "BYTES"}


@dataclass
class Life:
    """A project, the customers that its model never saw, and a server."""

    project: Project
    #: As the file has them.
    unseen: list[dict[str, str]]
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    said: list[str] = field(default_factory=list)

    def type(self, *words: str, code: int = 0) -> str:
        """A command as a person types it; what it prints."""
        done = subprocess.run(
            [str(TIDEMILL), *words], cwd=self.project.path, env=self.env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    @property
    def url(self) -> str:
        told = msgspec.json.decode(
            (self.project.path / ".tidemill" / "serving" / "server.json").read_bytes(), type=ServerState
        )
        return f"127.0.0.1:{told.port}"

    def client(self) -> Any:
        return triton.InferenceServerClient(self.url)

    def bundle(self, release: str) -> Path:
        stores, _ = self.project.open()
        return stores.releases.bundle(stores.releases.get(release).bundle)

    def model(self, release: str) -> TabularModel:
        return open_tabular(self.bundle(release))

    @property
    def fields(self) -> list[InputField]:
        """What is sent: the request without the time, which is that of the request."""
        stores, _ = self.project.open()
        signature = stores.releases.get("churn@1").signature
        assert signature is not None
        return [one for one in signature.request if one.role is None]

    def ask_all(self, client: Any) -> Any:
        """The probabilities of all unseen customers, some hundred at a time."""
        pages = [self.unseen[place : place + 500] for place in range(0, len(self.unseen), 500)]
        return np.concatenate([self.ask(client, page).as_numpy("probability") for page in pages])

    def ask(self, client: Any, rows: list[dict[str, str]]) -> Any:
        return client.infer("churn", [tensor(one, [row[one.name] for row in rows]) for one in self.fields])


def tensor(one: InputField, values: list[str]) -> Any:
    """A column of the file as the client's tensor: a blank is NaN, or an empty text."""
    made: Any
    if one.kind == "str":
        made = np.array([value.encode() for value in values], object)
    else:
        made = np.array([float(value) if value.strip() else np.nan for value in values])
        made = made.astype(np.int64) if one.kind == "int" else made
    found = triton.InferInput(one.name, [len(values)], DATATYPE[one.kind])
    found.set_data_from_numpy(made)
    return found


def until(what: Any, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    base = tmp_path_factory.mktemp("life")
    path = base / "churn"
    write_project(path, "churn")
    change(path, "learn=tm.auto(minutes=1)", LEARN)
    (path / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n'
        '[laptop.sources]\ncustomers = "file:data/*.csv?header=true"\n'
    )
    real = test_data() / "telco-churn" / "telco_customer_churn.csv"
    if not real.is_file():
        print(f"{real} is not there: made-up customers stand in", file=sys.stderr)
        real = base / "all.csv"
        made_up(path).write(real, 2_000)
    with real.open(newline="") as file:
        rows = list(csv.DictReader(file))
    write(path / "data" / "customers.csv", [row for place, row in enumerate(rows) if place % 5])
    env = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL")}
    made = Life(Project(path, SystemClock()), rows[::5], env | {"OMP_NUM_THREADS": "1"})  # type: ignore[arg-type]
    made.type("run", "--backfill")
    made.type("train", "churn")
    made.type("promote", "churn@1")
    with (path / "server.txt").open("wb") as log:
        made.process = subprocess.Popen(
            [str(TIDEMILL), "serve", "--port", "0", "--workers", "2", "--no-console"],
            cwd=path, env=made.env, stdout=log, stderr=log,
        )  # fmt: skip
    state = path / ".tidemill" / "serving" / "server.json"
    until(lambda: state.exists() and json.loads(state.read_bytes())["state"] == "up")
    until(lambda: made.client().is_server_ready())
    yield made
    made.process.send_signal(signal.SIGINT)
    assert made.process.wait(30) == 0, (path / "server.txt").read_text()[-3000:]


def write(file: Path, rows: list[dict[str, str]]) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def inputs_of(life: Life) -> pa.Table:
    """The unseen customers as the model reads them, with the project's function counted by hand."""
    columns: dict[str, pa.Array] = {}
    for one in life.fields:
        values = [row[one.name] for row in life.unseen]
        if one.kind == "str":
            columns[one.name] = pa.array(values, pa.string())
        else:
            numbers = [float(value) if value.strip() else None for value in values]
            columns[one.name] = pa.array(numbers, pa.float64()).cast(pa.int64() if one.kind == "int" else pa.float64())
    tenure, monthly, total = (
        np.asarray(columns[name].to_numpy(zero_copy_only=False), float)
        for name in ("tenure", "MonthlyCharges", "TotalCharges")
    )
    columns["charge_drift"] = pa.array(total - tenure * monthly, from_pandas=True)
    columns["paid_per_month"] = pa.array(total / np.maximum(tenure, 1), from_pandas=True)
    names = [one.name for one in life.model("churn@1").recipe.inputs]
    return pa.table({name: columns[name] for name in names})


def by_hand(life: Life) -> Any:
    """The same trees, fitted on the published rows without the house, asked for the unseen customers."""
    pandas = pytest.importorskip("pandas")
    stores, graph = life.project.open()
    examples = rebuild_dataset(stores, graph, dataset_named(stores, "churn@1"))
    learned, asked = examples.inputs.to_pandas(), inputs_of(life).to_pandas()
    for one in examples.fields:
        if one.kind == "str":
            known = sorted(set(learned[one.name].dropna()))
            learned[one.name] = pandas.Categorical(learned[one.name], known)
            asked[one.name] = pandas.Categorical(asked[one.name], known)
        else:
            learned[one.name], asked[one.name] = learned[one.name].astype(float), asked[one.name].astype(float)
    trees = lightgbm.LGBMClassifier(**TREES).fit(learned, examples.target)
    return trees.predict_proba(asked[list(learned)])[:, 1]


def test_a_stock_client_gets_what_the_library_answers(life: Life) -> None:
    client = life.client()
    found = life.ask_all(client)
    np.testing.assert_allclose(found, life.model("churn@1").answer(inputs_of(life)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_hand(life), rtol=0, atol=1e-6)
    left = np.array([row["Churn"] == "Yes" for row in life.unseen])
    assert found[left].mean() > found[~left].mean() + 0.1
    one = life.ask(client, life.unseen[:1])
    assert one.as_numpy("probability")[0] == pytest.approx(found[0], abs=1e-12)
    assert one.as_numpy("label")[0].decode() == ("Yes" if found[0] >= 0.5 else "No")


def test_answers_and_outcomes_are_in_the_lake(life: Life) -> None:
    client = life.client()
    ids = life.ask(client, life.unseen[:50]).get_response()["parameters"]["prediction_ids"].split(",")
    outcomes = [
        {"prediction_id": one, "item": "Yes", "what": "churn", "value": float(row["Churn"] == "Yes")}
        for one, row in zip(ids, life.unseen, strict=False)
    ]
    asked = urllib.request.Request(
        f"http://{life.url}/v1/outcomes", json.dumps(outcomes).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert json.load(answer) == {"accepted": 50}

    def kept(table: str) -> list[dict[str, Any]]:
        stores, _ = life.project.open()
        log = stores.lake.log(table)
        return [] if log is None else log.to_pylist()

    until(lambda: set(ids) <= {row["prediction_id"] for row in kept("predictions")}, 40)
    until(lambda: set(ids) <= {row["prediction_id"] for row in kept("outcomes")}, 40)
    logged = {row["prediction_id"]: row for row in kept("predictions") if row["kind"] == "computed"}
    answers = life.model("churn@1").answer(inputs_of(life))[:50]
    assert [logged[one]["scores"][0] for one in ids] == pytest.approx(answers.tolist(), abs=1e-12)
    assert {logged[one]["release"] for one in ids} == {"churn@1"}
    stores, _ = life.project.open()
    predictions, happened = stores.lake.log("predictions"), stores.lake.log("outcomes")
    assert predictions is not None and happened is not None
    found = realised_rates(predictions, happened)
    (whole,) = [one for one in found if (one.release, one.position) == ("churn@1", 0)]
    assert whole.taken == len({one for one, row in zip(ids, life.unseen, strict=False) if row["Churn"] == "Yes"})
    inputs = json.loads(logged[ids[0]]["features"])["inputs"]
    assert "gender" not in inputs and inputs["tenure"] == int(life.unseen[0]["tenure"])
    assert not any(row["customerID"] in json.dumps(logged[ids[0]], default=str) for row in life.unseen[:1])


def test_a_swap_under_load_loses_no_answer_and_goes_back(life: Life) -> None:
    change(life.project.path, "'n_estimators': 60", "'n_estimators': 25")
    life.type("train", "churn")
    stop, versions, failures = threading.Event(), [], []

    def keep_asking() -> None:
        client = life.client()
        while not stop.is_set():
            try:
                versions.append(life.ask(client, life.unseen[:3]).get_response()["model_version"])
            except Exception as error:  # whatever it is, it is counted
                failures.append(repr(error))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        until(lambda: len(versions) > 3)
        life.type("promote", "churn@2")
        until(lambda: versions[-1:] == ["2"])
        client = life.client()
        found = life.ask_all(client)
        np.testing.assert_allclose(found, life.model("churn@2").answer(inputs_of(life)), rtol=0, atol=1e-12)
        life.type("rollback", "churn")
        until(lambda: versions[-1:] == ["1"])
    finally:
        stop.set()
        asking.join()
    assert failures == []
    assert set(versions) == {"1", "2"}


def test_off_refuses_and_on_answers_again(life: Life) -> None:
    client = life.client()
    life.type("off", "churn")

    until(lambda: not client.is_model_ready("churn"))
    with pytest.raises(utils.InferenceServerException, match="switched off"):
        life.ask(client, life.unseen[:2])
    life.type("on", "churn")
    until(lambda: client.is_model_ready("churn"))
    assert len(life.ask(client, life.unseen[:2]).as_numpy("probability")) == 2


def test_an_export_answers_the_same_where_tidemill_is_not(life: Life, tmp_path: Path) -> None:
    out = tmp_path / "out"
    life.type("export", "churn@1", str(out))
    table = inputs_of(life)
    rows = table.drop_columns(["charge_drift", "paid_per_month"]).to_pylist()  # the program computes these
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    program = (
        "import sys, runpy\n"
        "sys.modules['tidemill'] = None\n"
        "sys.path.insert(0, sys.argv[1]); sys.argv = ['predict.py', *sys.argv[2:]]\n"
        "runpy.run_path(sys.path[0] + '/predict.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), str(tmp_path / "rows.json")],
        capture_output=True, text=True, cwd=tmp_path, env=life.env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [one["probability"] for one in json.loads(done.stdout)["predictions"]]
    np.testing.assert_allclose(found, life.model("churn@1").answer(table), rtol=0, atol=1e-12)
    checked = subprocess.run(
        [sys.executable, str(out / "predict.py"), "--check"], capture_output=True, text=True, env=life.env
    )
    assert checked.returncode == 0 and "golden rows" in checked.stdout


def test_it_is_learned_again_bit_for_bit(life: Life) -> None:
    assert "bitwise" in life.type("reproduce", "churn@1", "--here")


def test_a_chosen_model_is_promoted_and_answers(life: Life) -> None:
    change(life.project.path, LEARN.replace("60", "25"), "learn=tm.auto(minutes=0.15)")
    said = json.loads(life.type("train", "churn", "--json"))
    name = said["release"]["name"] if isinstance(said["release"], dict) else said["release"]
    life.type("promote", name)
    client = life.client()
    number = name.rpartition("@")[2]
    until(lambda: life.ask(client, life.unseen[:1]).get_response()["model_version"] == number)
    found = life.ask_all(client)
    np.testing.assert_allclose(found, life.model(name).answer(inputs_of(life)), rtol=0, atol=1e-12)
