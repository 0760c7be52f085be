"""`tidemill auto`: a file becomes a served release; what cannot be one is told, and can be corrected."""

from __future__ import annotations

import gzip
import json
import math
import random
import urllib.request
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tidemill.cli.main import cli
from tidemill.core.clock import SystemClock
from tidemill.core.errors import (
    SchemaChanged,
    SourceDamaged,
    SourceMissing,
    SourceUnknown,
    TargetUnfit,
    TidemillError,
    TooLittleData,
    UnknownName,
    UsageError,
)
from tidemill.core.settings import load
from tidemill.loop.auto.auto_from_file import AutoResult, auto_from_file
from tidemill.loop.auto.auto_project import AutoRequest, model_name, write_auto_project
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models.tabular import open_tabular
from tidemill.serving.process.server_handle import start

pytest.importorskip("lightgbm")

HEADER = "amount,plan,visits,left"
SAID = {"helps": "All.", "could_harm": "None."}


def customers(n: int = 300, seed: int = 1) -> list[tuple[float, str, int, str]]:
    """A large amount makes them leave."""
    draw = random.Random(seed)
    found = []
    for _ in range(n):
        amount = round(draw.random() * 10, 3)
        found.append((amount, draw.choice("abc"), draw.randint(0, 5), "yes" if draw.random() < amount / 10 else "no"))
    return found


ROWS = customers()


def lines(target: Callable[[float, str, int, str], object] = lambda *row: row[-1], n: int = 300) -> list[str]:
    return [f"{amount},{plan},{visits},{target(amount, plan, visits, left)}" for amount, plan, visits, left in ROWS[:n]]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TIDEMILL_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def written(name: str, *text: str, end: str = "\n", coding: str = "utf-8") -> Path:
    path = Path.cwd() / name
    path.write_bytes((end.join(text) + end).encode(coding))
    return path


def made(file: Path, target: str = "left", **more: Any) -> AutoResult:
    """What the command makes before it serves."""
    asked = AutoRequest(name=model_name(file.stem), file=infer_schema(file), target=target, minutes=0.02, **SAID | more)
    return auto_from_file(Path.cwd() / "made", asked, clock=SystemClock(), overrides={"keys": str(Path.cwd() / "keys")})


def asked(*words: str) -> Result:
    return CliRunner().invoke(cli, ["auto", *words, "--exit", "--helps", "All.", "--could-harm", "None."])


def test_a_file_becomes_a_release_that_is_live() -> None:
    written("gone.csv", HEADER, *lines())
    done = asked("gone.csv", "--target", "left", "--minutes", "0.3", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["project"], said["release"]) == ("gone", "gone@1")
    assert "gone@1 is live on http://127.0.0.1:" in done.stderr
    files = {path.name for path in Path("gone").iterdir()} - {"__pycache__"}
    assert files == {".gitignore", ".tidemill", "mill.py", "tidemill.toml"}
    again = asked("gone.csv", "--target", "left")
    assert isinstance(again.exception, UsageError) and "with a release; nothing was written" in str(again.exception)


def never(*_: object) -> str:
    return "yes"


#: What a file may hold that gives no model: name of the file, its lines, the error and words of it.
UNFIT: dict[str, tuple[str, list[str], type[TidemillError], str]] = {
    "one class": ("m.csv", [HEADER, *lines(never)], TargetUnfit, "has only one value"),
    "no target": ("m.csv", [HEADER, *lines(lambda *_: "")], TooLittleData, "no row with a value of the target 'left'"),
    "ten rows": ("m.csv", [HEADER, *lines(n=10)], TooLittleData, "10 training rows are too few: at least 20"),
    "times": ("m.csv", [HEADER, *lines(lambda a, *_: f"2024-01-{1 + int(a):02d}")], TargetUnfit, "is a time"),
    "names": ("m.csv", [HEADER, *lines(lambda a, *_: f"row {a}")], TargetUnfit, "it looks like an ID column"),
    "no input": ("m.csv", ["left", *(row[-1] for row in ROWS)], TidemillError, "has no input"),
    "no rows": ("m.csv", [HEADER], SourceUnknown, "has no rows"),
    "no lines": ("m.csv", [], SourceUnknown, "has no rows"),
    "no Parquet": ("m.parquet", ["PAR1\0\1\2"], SourceDamaged, "cannot be read as parquet"),
    "no JSON": ("m.jsonl", ["{", *lines()], SourceDamaged, "cannot be read as json"),
    "infinite": ("m.csv", [HEADER, *(f"inf{line[line.index(','):]}" for line in lines())], SchemaChanged, "finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNFIT)
def test_what_gives_no_model_is_told_again_and_again(what: str) -> None:
    name, text, error, words = UNFIT[what]
    for _ in range(2):  # its own project is no obstacle
        written(name, *text)
        with pytest.raises(error, match=words):
            made(Path.cwd() / name)


def test_bytes_of_no_text_are_told() -> None:
    Path("m.csv").write_bytes(random.Random(3).randbytes(4_000))
    with pytest.raises(SourceUnknown, match="is not text"):
        infer_schema(Path("m.csv"))
    written("m.csv", HEADER, *(line.replace(",a,", ",ä,") for line in lines()), coding="latin-1")
    assert infer_schema(Path("m.csv")).options() == "header=true&encoding=cp1252"


def test_the_command_tells_it_too() -> None:
    written("m.csv", HEADER, *lines(never))
    for words, error in [
        (("none.csv", "--target", "left"), SourceMissing),
        (("m.csv", "--target", "lefd"), UnknownName),
        (("m.csv", "--target", "left", "--leave-out", "nothing"), UnknownName),
        (("m.csv", "--target", "left", "--time", "nothing"), UnknownName),
        (("m.csv", "--target", "left", "--columns", "a,b"), UnknownName),
        (("m.csv", "--target", "left"), TargetUnfit),
    ]:
        assert isinstance(asked(*words).exception, error), words
    assert asked("m.csv").exit_code == 2


def test_a_project_without_a_release_stays_and_the_mended_file_is_taken() -> None:
    Path("made").mkdir()
    file = written("m.csv", HEADER, *lines(never))
    with pytest.raises(TargetUnfit):
        made(file)
    assert Path("made/mill.py").is_file() and Path("made/.tidemill").is_dir()  # messages point into it
    written("m.csv", HEADER, *lines())
    assert made(file).learned.release.name == "m@1"


#: Ways to write the same rows.
DIALECTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "Windows": ([HEADER, *lines()], {"end": "\r\n"}),
    "a mark of UTF-8": ([HEADER, *lines()], {"coding": "utf-8-sig"}),
    "blanks in the header": ([" amount ,plan name,  visits, left ", *lines()], {}),
    "quotes": (['"amount",plan,visits,"left"', *(line.replace(",a,", ',"a, ""b""\nc",') for line in lines())], {}),
    "semicolons": ([line.replace(",", ";") for line in (HEADER, *lines())], {}),
    "decimal commas": (
        [";".join(text.replace(".", ",") for text in line.split(",")) for line in (HEADER, *lines())],
        {"coding": "utf-16"},
    ),
    "blank lines": (["", HEADER, "", *lines(), "", ""], {}),
    "two of a name": (["a,a,visits,left", *lines()], {}),
    "no name": ([",plan,visits,left", *lines()], {}),
    "a comma in a name": (['"a,b=c&d:e",plan,visits,left', *lines()], {}),
    "words of Python": (["class,import,str,left", *lines()], {}),
    "words of the project": (["mill,tm,seen_at,left", *lines()], {}),
    "letters of all kinds": (["area m²,größe,<script>,left", *lines()], {}),
    "hostile names": (['__class__,"x""); import os #",{{7*7}},left', *lines()], {}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_way_to_write_rows_is_read_whole(dialect: str) -> None:
    text, how = DIALECTS[dialect]
    file, folder = written("m.csv", *text, **how), Path.cwd() / "made"
    write_auto_project(folder, AutoRequest(name="m", file=infer_schema(file), target="left"))
    stores = open_stores(folder, load(folder, overrides={"keys": str(Path.cwd() / "keys")}), SystemClock(), name="m")
    graph = ProjectGraph(load_mill(folder), stores.engine, folder)
    report = run(stores, graph, until=date.today() - timedelta(days=1), backfill=True)
    assert (report.merged, report.refused) == (300, 0)
    asking = graph.askings["m"]
    assert [field.kind for field in asking.inputs] == ["float", "str", "int"]
    amounts = stores.lake.view().arrow("rows")[asking.inputs[0].name].to_pylist()
    assert sorted(amounts) == sorted(row[0] for row in ROWS), "a column came in empty"


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_way_to_write_rows_gives_a_model(dialect: str) -> None:
    text, how = DIALECTS[dialect]
    found = made(written("m.csv", *text, **how))
    signature = found.learned.release.signature
    assert signature is not None and (signature.task, signature.classes) == ("binary", ("no", "yes"))
    assert found.learned.card.n_rows == 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (lambda a, *_: int(a > 5), "binary", ("0", "1")),
        (lambda a, *_: str(a > 5).lower(), "binary", ("false", "true")),
        (lambda a, *_: "low" if a < 3 else "mid" if a < 6 else "high", "classes", ("high", "low", "mid")),
        (lambda a, *_: int(a / 2), "count", ()),
        (lambda a, *_: round(a * 3.3, 2), "number", ()),
        (lambda a, *_: int(a) - 5, "number", ()),
    ],
)
def test_the_task_follows_from_the_target(target: Any, task: str, classes: tuple[str, ...]) -> None:
    found = made(written("m.csv", HEADER, *lines(target)))
    assert found.learned.release.signature is not None
    assert (found.learned.release.signature.task, found.learned.release.signature.classes) == (task, classes)
    model = open_tabular(found.stores.releases.bundle(found.learned.release.bundle))
    answer = model.predict_row([5.5, "a", 2])
    assert len(answer) == max(1, len(classes) if task == "classes" else 1)
    assert all(math.isfinite(value) for value in answer)


@pytest.mark.slow
def test_a_column_of_nothing_is_left_out_and_rows_without_a_target_are_not_learned_from() -> None:
    text = [f"{line}," if i % 10 else f"{line.rpartition(',')[0]},," for i, line in enumerate(lines())]
    found = made(written("m.csv", f"{HEADER},nothing", *text))
    assert found.learned.card.n_rows == 270
    assert any(note.startswith("nothing was left out") for note in found.learned.notes)


# ---- slow


@pytest.fixture
def adult(data_dir: Path) -> Path:
    """A tenth of its rows, so that a minute is enough on a busy machine too."""
    there = data_dir / "adult" / "adult_train.csv.gz"
    if not there.is_file():
        pytest.skip(f"{there} is not there: set TIDEMILL_TEST_DATA")
    file = Path.cwd() / "adult.csv"
    with gzip.open(there, "rt") as packed:
        file.write_text("".join(line for place, line in enumerate(packed) if place % 10 == 0))
    return file


#: The fields of Adult as a person would type them.
FIRST = "age,workclass,fnlwgt,education,education_num,marital,occupation,relationship,race,sex"
ADULT = f"{FIRST},gain,loss,hours,country,income"


def told(url: str, body: Any = None) -> Any:
    """What a server says to a GET, or to a POST of `body`."""
    content = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_adults_without_a_header_are_served(adult: Path) -> None:
    first = adult.read_text().splitlines()[0]
    names = ["--columns", ADULT] if not first.startswith("age") else []
    done = asked("adult.csv", "--target", "income", *names, "--minutes", "1", "--fairness", "sex", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["release"] == "adult@1"
    overrides = {"serve.port": 0, "serve.workers": 1}
    with start(serve_plan(load(Path("adult"), overrides=overrides), overrides=overrides)) as server:
        server.wait_ready()
        about = told(f"{server.url}/v2/models/adult")
        assert {one["name"] for one in about["inputs"]} >= {"age", "education", "hours"}
        given = {"age": [28, 45], "education": ["HS-grad", "Doctorate"], "hours": [20, 60]}
        tensors = [
            {"name": name, "shape": [2], "datatype": "BYTES" if name == "education" else "INT64", "data": values}
            for name, values in given.items()
        ]
        answer = told(f"{server.url}/v2/models/adult/infer", {"inputs": tensors})
        document = told(f"{server.url}/openapi.json")
        example = document["paths"]["/v2/models/adult/infer"]["post"]["requestBody"]["content"]["application/json"]
        shown = told(f"{server.url}/v2/models/adult/infer", example["example"])
    low, high = next(one["data"] for one in answer["outputs"] if one["name"] == "probability")
    assert 0 < low < high < 1
    assert "unseen" in answer["parameters"] and "unseen" not in shown["parameters"]
