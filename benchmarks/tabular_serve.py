"""What a tabular answer costs, beside peers: CPU microseconds of the whole process tree for one row of 20 numbers.

    python benchmarks/tabular_serve.py [--seconds 9] [--trees 130] [--peers FOLDER]

A constant model (the no-op) and a LightGBM model of 130 trees, asked by 8 connections, each request another question;
every answer of tidemill is logged, none of a peer's. Then parts of tidemill's answer: HTTP alone (`GET /livez`), a body
posted to no model, a model that also looks a person up and runs an on-demand function, and all inputs in one tensor.

FOLDER has an environment for each peer that `benchmarks/peers/tabular_servers.py` serves; who is missing is left out:

    uv venv FOLDER/raw && uv pip install --python FOLDER/raw/bin/python msgspec==0.23.0 fastapi==0.165.0 $SERVER
    ln -s raw FOLDER/fastapi
    uv venv FOLDER/mlserver && uv pip install --python FOLDER/mlserver/bin/python mlserver==1.7.1 $SERVER

and so on with litserve==0.2.19, bentoml==1.4.40 and mlflow==3.17.2, where SERVER is "uvicorn==0.54.0 httptools==0.9.0
uvloop==0.23.0 lightgbm==4.7.0". `raw` is ASGI without a framework.

All servers run at once and are asked in turns, and the least of the rounds counts, since a busy machine only adds.
Load comes from `wrk`, which has to be installed.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models.tabular import TabularModel, write_tabular
from tidemill.models.tabular.recipe import AdditiveTerms, NumberColumn, TabularRecipe, TreesMember
from tidemill.serving import start
from tidemill.serving.infer.oip_request import InferRequestReader

ROUNDS = 3
#: An answer may cost so many times what this peer's costs; raw ASGI's no-op is the measure of both models.
LIMITS = {"raw": 3.0, "mlserver": 1 / 4, "bentoml": 1 / 10, "mlflow": 1 / 10}
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

NAMES = [field.name for field in NUMBERS]
#: Lua: `values` is filled up with random numbers, one for each %.6f of the body.
ASK = """
local draw = math.random
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  local values = {%s}
  for i = #values + 1, #values + %d do values[i] = draw() end
  return wrk.format(nil, "%s", nil, string.format([==[%s]==], unpack(values)))
end
"""
PERSON = '{"name":"person","shape":[1],"datatype":"BYTES","data":["p%d"]},'
NUMBER = '{"name":"NAME","shape":[1],"datatype":"FP64","data":[%.6f]}'
ROW = ",".join(["%.6f"] * WIDTH)
TENSORS = ",".join(NUMBER.replace("NAME", name) for name in NAMES)
ONE_TENSOR = f'{{"name":"inputs","shape":[1,{WIDTH}],"datatype":"FP64","data":[{ROW}]}}'
FLAT = "{" + ",".join(f'"{name}":%.6f' for name in NAMES) + "}"


def script(path: str, body: str, first: str = "") -> str:
    """What `wrk` runs to ask for one row after the other."""
    return ASK % (first, WIDTH, path, body)


def infer(model: str, inputs: str, first: str = "") -> str:
    """A question by the Open Inference Protocol."""
    return script(f"/v2/models/{model}/infer", f'{{"inputs":[{inputs}]}}', first)


#: How a peer is asked, in the cheapest form that it reads.
PEERS = {
    "raw": infer("m", TENSORS),
    "fastapi": script("/predict", FLAT),
    "mlserver": infer("m", TENSORS),
    "litserve": script("/predict", FLAT),
    "bentoml": script("/predict", f'{{"row":[{ROW}]}}'),
    "mlflow": script("/invocations", f'{{"inputs":[[{ROW}]]}}'),
}


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
    recover_live_files(stores)


def cpu_us(pid: int) -> float:
    """CPU time so far of a process, its descendants and those of them that have ended, in microseconds."""
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            parents[int(path.parent.name)] = int(fields[1])
            spent[int(path.parent.name)] = sum(map(int, fields[11:15]))
    tree, total = [pid], 0
    while tree:
        one = tree.pop()
        total += spent.get(one, 0)
        tree += [child for child, parent in parents.items() if parent == one]
    return total * 1e6 / os.sysconf("SC_CLK_TCK")


def load(url: str, pid: int, seconds: float, script: str | None) -> float:
    """CPU microseconds of the server for each request of 8 connections."""
    command = ["wrk", "-t1", "-c8", f"-d{max(1, round(seconds))}s", f"{url}/livez"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            command[1:1] = ["-s", file.name]
        before = cpu_us(pid)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        spent = cpu_us(pid) - before
    refused = "Non-2xx" in done.stdout and "/v2/models/nothing" not in (script or "")
    found = re.search(r"(\d+) requests in", done.stdout)
    if done.returncode or refused or found is None or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk at {url}: {done.stderr or done.stdout}")
    return spent / int(found[1])


def warm(url: str, pid: int, script: str | None) -> None:
    """Wait until a server answers, and let it answer for a second."""
    for left in reversed(range(180)):
        try:
            load(url, pid, 1, script)
        except RuntimeError:
            if not left:
                raise
            time.sleep(1)
        else:
            return


@contextmanager
def peer(name: str, python: Path, folder: Path, trees_file: str) -> Iterator[tuple[str, int]]:
    """The URL and process of a peer's server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), str(Path(__file__).parent / "peers" / "tabular_servers.py"), name, str(port), str(folder)]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        running = subprocess.Popen(
            [*command, *([trees_file] if trees_file else [])],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", running.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(30)


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
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--trees", type=int, default=130)
    parser.add_argument("--peers", type=Path, help="a folder with an environment for each peer")
    asked = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    scripts = {
        "tidemill no-op": infer("constant", TENSORS),
        "tidemill trees": infer("trees", TENSORS),
        "no-op, one tensor": infer("constant", ONE_TENSOR),
        "trees, one tensor": infer("trees", ONE_TENSOR),
        "trees, lookup, function": infer("person", PERSON + TENSORS, f"draw(0, {PEOPLE - 1})"),
        "body to no model": infer("nothing", TENSORS),
        "livez": None,
    }
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="tidemill-tabular-") as made, ExitStack() as running:
        place = Path(made)
        stores, overrides = build(place, asked.trees)
        parts = inside(asked.trees)
        server = running.enter_context(start(serve_plan(stores.settings, overrides=overrides)))
        server.wait_ready(120)
        todo = [(name, server.url, server.pid, script) for name, script in scripts.items()]
        (place / "trees.txt").write_bytes(bytes(trees(asked.trees, NUMBERS).parts["trees.txt"]))
        for name, question in PEERS.items():
            python = asked.peers / name / "bin" / "python" if asked.peers else None
            if python is None or not python.exists():
                print(f"{name} is not installed: left out")
                continue
            for model, file in (("no-op", ""), ("trees", str(place / "trees.txt"))):
                url, pid = running.enter_context(peer(name, python, place / f"{name}-{model}", file))
                todo.append((f"{name} {model}", url, pid, question))
        for _, url, pid, question in todo:
            warm(url, pid, question)
        for name, url, pid, question in todo * ROUNDS:
            print(f"{name} …", file=sys.stderr)
            found[name] = min(found.get(name, math.inf), load(url, pid, asked.seconds / ROUNDS, question))
    report(found, parts)


def report(found: dict[str, float], parts: dict[str, float]) -> None:
    """Print the servers beside each other, the parts of tidemill's answer, and the limits."""
    raw = found.get("raw no-op", math.nan)
    servers = [name for name in ("tidemill", *PEERS) if f"{name} no-op" in found]
    costs = {name: (found.pop(f"{name} no-op"), found.pop(f"{name} trees")) for name in servers}
    print(f"{'CPU µs a request':28}{'no-op':>8}{'trees':>8}{'to raw ASGI':>16}")
    for name, (no_op, with_trees) in costs.items():
        print(f"{name:28}{no_op:8.0f}{with_trees:8.0f}{no_op / raw:8.2f}{with_trees / raw:8.2f}")
    for name, us in found.items():
        print(f"{name:28}{us:8.0f}")
    for name, us in parts.items():
        print(f"{'  of it ' + name:28}{us:8.1f}")
    for name in [name for name in LIMITS if name in costs]:
        theirs = (raw, raw) if name == "raw" else costs[name]
        ratios = [mine / their for mine, their in zip(costs["tidemill"], theirs, strict=True)]
        kept = "kept" if max(ratios) <= LIMITS[name] else "NOT kept"
        print(f"to {name}: no-op {ratios[0]:.2f}, trees {ratios[1]:.2f}; limit {LIMITS[name]:.2f} {kept}")


if __name__ == "__main__":
    main()
