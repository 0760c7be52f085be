"""What a tabular answer costs: CPU microseconds of the whole server for one row, by the Open Inference Protocol.

    python benchmarks/tabular_serve.py [--seconds 6] [--trees 130] [--peer PYTHON]

Beside the same server's floors: `GET /livez`; the same body of 20 numbers posted to no model (a 404, so HTTP and
nothing else); and asked of a model that reads none of them (a constant), logged as every answer is. Then a LightGBM
model of 130 trees on those 20 inputs, and one that also looks a person up and runs an on-demand function. Each request
is another question, so no answer is a repeat. The budget is 1.6 of the constant model's cost.

CPU is that of the worker process, all of it; the least of three rounds, since a busy machine only adds. Load comes from
`wrk`, which has to be installed. `--peer` is an interpreter that has fastapi, uvicorn and lightgbm: the same trees
behind a FastAPI route, from a row that pydantic checks, without a log.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import pyarrow as pa

import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock
from tidemill.core.records.release import Card, RuleSet
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature, outputs_of
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models.tabular import TabularModel, write_tabular
from tidemill.models.tabular.recipe import AdditiveTerms, NumberColumn, TabularRecipe, TreesMember
from tidemill.serving import start
from tidemill.serving.infer.oip_request import InferRequestReader

BUDGET = 1.6
ROUNDS = 3
WIDTH = 20
PEOPLE = 20_000
CLASSES = ("no", "yes")
NUMBERS = tuple(InputField(name=f"x{i:02d}", kind="float") for i in range(WIDTH))
LOOKED_UP = (InputField(name="spent", kind="float"), InputField(name="visits", kind="float"))
RATIO = InputField(name="ratio", kind="float")
MODULE = "features/ratio_of.py"
SOURCE = b"""from __future__ import annotations

import numpy as np


def ratio_of(spent, x00):
    return {"ratio": spent / (1.0 + np.abs(x00))}
"""

ASK = """
local draw = math.random
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function init(args) math.randomseed(7) end
function request()
  local parts = {%s}
  for i = 0, %d do
    parts[#parts + 1] = string.format(
      '{"name":"x%%02d","shape":[1],"datatype":"FP64","data":[%%.6f]}', i, draw())
  end
  return wrk.format(nil, "/v2/models/%s/infer", nil, '{"inputs":[' .. table.concat(parts, ",") .. "]}")
end
"""
MATRIX = """
local draw = math.random
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  local parts = {}
  for i = 0, %d do parts[#parts + 1] = string.format("%%.6f", draw()) end
  local data = table.concat(parts, ",")
  return wrk.format(nil, "/v2/models/%s/infer", nil,
    '{"inputs":[{"name":"inputs","shape":[1,%d],"datatype":"FP64","data":[' .. data .. "]}]}")
end
"""
PERSON = """string.format('{"name":"person","shape":[1],"datatype":"BYTES","data":["p%%d"]}', draw(0, %d))"""


def trees(n_trees: int, inputs: tuple[InputField, ...]) -> TabularModel:
    """A binary LightGBM model that splits on every input."""
    draw = np.random.default_rng(7)
    rows = draw.random((20_000, len(inputs)))
    target = (rows @ draw.normal(size=len(inputs)) + draw.normal(size=len(rows)) > 0).astype(int)
    given = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1, "seed": 7}
    booster = lightgbm.train(given, lightgbm.Dataset(rows, target), num_boost_round=n_trees)
    member = TreesMember(name="trees", file="trees.txt", columns=tuple(range(len(inputs))))
    return TabularModel(recipe(inputs, member), {"trees.txt": booster.model_to_string().encode()})


def recipe(inputs: tuple[InputField, ...], member: Any) -> TabularRecipe:
    numbers = tuple(NumberColumn(input=field.name) for field in inputs)
    return TabularRecipe(
        task="binary", target="left", inputs=inputs, classes=CLASSES, encoders=numbers, members=(member,),
        weights=(1.0,), bias=(0.0,), link="sigmoid",
    )  # fmt: skip


def constant() -> TabularModel:
    """A model that reads nothing."""
    return TabularModel(recipe(NUMBERS, AdditiveTerms(name="a", terms=(), bias=(0.3,))), {})


def signature(inputs: tuple[InputField, ...], request: tuple[InputField, ...], **more: Any) -> Signature:
    return Signature(
        task="binary", target="left", request=request, inputs=inputs, outputs=outputs_of("binary"), classes=CLASSES,
        **more,
    )  # fmt: skip


def build(folder: Path, n_trees: int) -> tuple[Stores, dict[str, Any]]:
    """A project with the models `constant`, `trees` and `person` promoted."""
    overrides = {"keys": str(folder / "keys"), "serve.port": 0, "serve.workers": 1}
    stores = open_stores(
        folder, settings_module.load(folder, overrides=overrides, environ={}), SystemClock(), name="benchmark"
    )
    person = InputField(name="person", kind="str", optional=False, role="subject")
    lookup = FeatureLookup(
        view="spending", entity="person", columns={"spent": "spent", "visits": "visits"}, ttl_us=None
    )
    ratio = OnDemandFeature(function="ratio_of", module=MODULE, takes=("spent", "x00"), gives=(RATIO,))
    inputs = (*NUMBERS, *LOOKED_UP, RATIO)
    names = stores.surrogates.many("person", [f"p{i}" for i in range(PEOPLE)])
    rows = {"person": names, "spent": np.arange(PEOPLE, dtype=float), "visits": np.ones(PEOPLE)}
    stores.latest.write("spending", "person", pa.table(rows | {"_at": np.zeros(PEOPLE, np.int64)}), "1")
    promote(stores, "constant", constant(), signature(NUMBERS, NUMBERS))
    promote(stores, "trees", trees(n_trees, NUMBERS), signature(NUMBERS, NUMBERS))
    looked = signature(inputs, (person, *NUMBERS), lookups=(lookup,), computed=(ratio,))
    promote(stores, "person", trees(n_trees, inputs), looked, modules={MODULE: SOURCE})
    return stores, overrides


def promote(stores: Stores, name: str, model: TabularModel, asked: Signature, **more: Any) -> None:
    card = Card(
        model=name, helps="Nobody.", could_harm="Nobody.", learner="benchmark", parameters={}, evaluation=None, data={},
        n_rows=0, n_users=0, n_items=0, learned_at=0, as_of=0,
    )  # fmt: skip
    write_tabular(model, stores.state / f"made-{name}")
    folder = stores.state / f"made-{name}"
    release = stores.releases.create(name, folder, RuleSet(retrieve=()), card, signature=asked, **more)
    stores.releases.promote(release.name)


def cpu_us(pid: int) -> float:
    """CPU time of a process so far, user and system, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def load(url: str, pid: int, seconds: float, script: str | None) -> tuple[float, float]:
    """Requests per second, and CPU microseconds of the worker for each."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds:g}s", f"{url}/livez"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            command[1:1] = ["-s", file.name]
        before, began = cpu_us(pid), time.monotonic()
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        took, spent = time.monotonic() - began, cpu_us(pid) - before
    if "Non-2xx" in said and "/v2/models/nothing" not in (script or ""):
        raise SystemExit(said)
    found = re.search(r"(\d+) requests in", said)
    assert found is not None
    return int(found[1]) / took, spent / int(found[1])


PEER = """
import lightgbm, numpy, sys
from fastapi import FastAPI
from pydantic import create_model

names = [f"x{i:02d}" for i in range(%d)]
Row = create_model("Row", **{name: (float, ...) for name in names})
booster = lightgbm.Booster(model_file=sys.argv[1])
app = FastAPI()

@app.get("/livez")
async def livez():
    return {"live": True}

@app.post("/predict")
async def predict(row: Row):
    values = numpy.array([[getattr(row, name) for name in names]])
    return {"probability": float(booster.predict(values, num_threads=1)[0])}

if __name__ == "__main__":
    import uvicorn
    uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
FLAT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  local parts = {}
  for i = 0, %d do parts[#parts + 1] = string.format('"x%%02d":%%.6f', i, math.random()) end
  return wrk.format(nil, "/predict", nil, "{" .. table.concat(parts, ",") .. "}")
end
"""


@contextmanager
def peer(python: str, folder: Path, n_trees: int) -> Iterator[tuple[str, int]]:
    """The URL and process of a FastAPI server of the same trees."""
    (folder / "peer.py").write_text(PEER % WIDTH)
    (folder / "peer.txt").write_bytes(bytes(trees(n_trees, NUMBERS).parts["trees.txt"]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, str(folder / "peer.py"), str(folder / "peer.txt"), str(port)]
    running = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", running.pid
    finally:
        running.terminate()
        running.wait()


def better(found: dict[str, tuple[float, float]], name: str, once: tuple[float, float]) -> None:
    """Keep the round that cost least."""
    found[name] = min(found.get(name, once), once, key=lambda pair: pair[1])


def timed(what: Callable[[], object], n: int = 5_000) -> float:
    """CPU microseconds of one call."""
    for _ in range(n // 10):
        what()
    before = time.process_time()
    for _ in range(n):
        what()
    return (time.process_time() - before) * 1e6 / n


def inside(n_trees: int) -> dict[str, float]:
    """Parts of an answer in this process, CPU microseconds each."""
    model = trees(n_trees, NUMBERS)
    row: list[Any] = [0.5] * WIDTH
    table = pa.table({field.name: [0.5] for field in NUMBERS})
    asked = [{"name": field.name, "shape": [1], "datatype": "FP64", "data": [0.5]} for field in NUMBERS]
    body = msgspec.json.encode({"inputs": asked})
    reader = InferRequestReader(signature(NUMBERS, NUMBERS), lambda kind, raw: raw, 1_000)
    return {
        "reading the request": timed(lambda: reader.read(body, None)),
        "model, one row": timed(lambda: model.predict_row(row)),
        "model, as a table": timed(lambda: model.predict(table), 500),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--trees", type=int, default=130)
    parser.add_argument("--peer", default="", help="an interpreter with fastapi, uvicorn and lightgbm")
    asked = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    scripts = {
        "livez": None,
        "no-op: body to no model": ASK % ("", WIDTH - 1, "nothing"),
        "constant model": ASK % ("", WIDTH - 1, "constant"),
        "trees": ASK % ("", WIDTH - 1, "trees"),
        "trees, lookup, function": ASK % (PERSON % (PEOPLE - 1), WIDTH - 1, "person"),
        "constant, one tensor": MATRIX % (WIDTH - 1, "constant", WIDTH),
        "trees, one tensor": MATRIX % (WIDTH - 1, "trees", WIDTH),
    }
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="tidemill-tabular-") as place:
        stores, overrides = build(Path(place), asked.trees)
        parts = inside(asked.trees)
        with start(serve_plan(stores.settings, overrides=overrides)) as server:
            server.wait_ready(120)
            pid = int(next((stores.serving_root / "workers").glob("*.json")).stem)
            load(server.url, pid, 1, scripts["trees"])
            for name, script in list(scripts.items()) * ROUNDS:
                better(found, name, load(server.url, pid, asked.seconds / ROUNDS, script))
        if asked.peer:
            with peer(asked.peer, Path(place), asked.trees) as (url, of_peer):
                load(url, of_peer, 1, FLAT % (WIDTH - 1))
                for _ in range(ROUNDS):
                    once = load(url, of_peer, asked.seconds / ROUNDS, FLAT % (WIDTH - 1))
                    better(found, "FastAPI, the same trees", once)
    print(f"{'':28}{'CPU µs':>10}{'a second':>12}{'to constant':>13}{'to no-op':>10}")
    for name, (rate, us) in found.items():
        floor = found["constant, one tensor" if "tensor" in name else "constant model"][1]
        print(f"{name:28}{us:10.0f}{rate:12,.0f}{us / floor:13.2f}{us / found['no-op: body to no model'][1]:10.2f}")
    for name, us in parts.items():
        print(f"{'  of it ' + name:28}{us:10.1f}")
    to_constant, to_noop = (
        found["trees"][1] / found[name][1] for name in ("constant model", "no-op: body to no model")
    )
    print(f"trees, logged: {to_constant:.2f} of the constant model (budget {BUDGET}), {to_noop:.2f} of the no-op")


if __name__ == "__main__":
    main()
