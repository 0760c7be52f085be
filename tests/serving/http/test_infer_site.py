"""One worker's site in this process: what happens where the log, an on-demand function or a tabular model fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from http_exchange import Exchange, exchange
from served_model import BUYER, MODULE, PRICE, SIZES, SOURCE, Served, additive, buyer, open_models, sized
from test_site import full_disk

from tidemill.core.kinds import Kind
from tidemill.loop.serve.server_processes import _stores
from tidemill.models.tabular import TabularModel
from tidemill.models.tabular.on_demand_arrays import array_of_column, array_of_values, values_of_array
from tidemill.release import read_deployment
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.live.state_files import write_state
from tidemill.serving.process.worker_site import WorkerSite

LENGTH = {"name": "length", "shape": [1], "datatype": "FP64", "data": [2.0]}
BOUGHT = [
    {"name": "customer", "shape": [1], "datatype": "BYTES", "data": ["somebody@example.org"]},
    {"name": "amount", "shape": [1], "datatype": "FP64", "data": [-13.25]},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return open_models(tmp_path_factory.mktemp("site") / "project")


def site(
    served: Served, model: str, made: TabularModel, signature: Any, *, server_log: str = "available", **more: Any
) -> WorkerSite:
    release = served.promote(model, made, signature, **more)
    write_state(
        served.root / model / "serving.json", read_deployment(served.root, release.model, served.stores.keys.public)
    )
    settings = msgspec.structs.replace(served.stores.settings.serve, log=server_log)
    opened = WorkerSite(_stores(served.stores.settings), settings, LoopbackAccess([8400]), place=0)
    opened.start()
    return opened


def ask(opened: WorkerSite, model: str, *inputs: dict[str, Any]) -> Exchange:
    return exchange(opened.server, f"/v2/models/{model}/infer", {"inputs": inputs})


@pytest.mark.parametrize("who", ["release", "server", "nobody"])
def test_what_cannot_be_logged_is_said_or_not_answered(served: Served, who: str) -> None:
    of = {one: "required" if one == who else "available" for one in ("release", "server")}
    opened = site(served, PRICE, *sized("number", "price"), server_log=of["server"], log=of["release"])
    with full_disk():
        found = ask(opened, PRICE, LENGTH)
    if who == "nobody":
        assert found.status == 200 and found.content["parameters"]["logged"] is False
    else:
        assert (found.status, found.content["code"]) == (503, "TM704")
    after = ask(opened, PRICE, LENGTH)
    assert after.status == 200 and after.content["parameters"]["logged"] is True
    opened.close()


FAILING = b"""from __future__ import annotations

import numpy as np


def ratios(amount, spent):
    if np.any(amount < 0):
        raise ValueError(f"not {amount}")
    return {"ratio": np.divide(amount, spent)}
"""


def test_a_function_that_fails_is_an_error_without_the_value(served: Served) -> None:
    model, signature = buyer()
    opened = site(served, BUYER, model, signature, modules={MODULE: FAILING})
    found = ask(opened, BUYER, *BOUGHT)
    assert (found.status, found.content["code"]) == (500, "TM713")
    assert "ratios" in found.content["error"] and "13.25" not in str(found.content)
    opened.close()


REFUSED = {
    "imports": b"import os\n\n\ndef ratios(amount, spent):\n    return {'ratio': amount}\n",
    "shape": b"def ratios(amount, spent):\n    return {'ratio': 1.0}\n",
    "kind": b"def ratios(amount, spent):\n    return {'ratio': ['a' for _ in amount]}\n",
    "name": b"def ratios(amount, spent):\n    return {'ration': amount}\n",
    "raises": b"def ratios(amount, spent):\n    raise KeyError(0)\n",
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_release_whose_function_does_not_work_does_not_go_live(served: Served, why: str) -> None:
    model, signature = buyer()
    opened = site(served, BUYER, model, signature, modules={MODULE: REFUSED[why]})
    failed = opened.models[BUYER].failed
    assert failed is not None and failed.why, why
    assert ask(opened, BUYER, *BOUGHT).status == 503
    opened.close()


def test_a_model_that_reads_something_else_does_not_go_live(served: Served) -> None:
    other = additive("number", "price", (SIZES[1], SIZES[0]), [0.1, 0.2])
    opened = site(served, PRICE, other, sized("number", "price")[1])
    failed = opened.models[PRICE].failed
    assert failed is not None and "do not match its signature" in failed.why
    opened.close()


def test_the_switch_of_a_function_s_source_is_noticed(served: Served, tmp_path: Path) -> None:
    model, signature = buyer()
    release = served.promote(BUYER, model, signature, modules={MODULE: SOURCE})
    write_state(served.root / BUYER / "serving.json", read_deployment(served.root, BUYER, served.stores.keys.public))
    folder = served.stores.releases.modules(release)
    assert folder is not None
    forged = folder / MODULE
    forged.chmod(0o600)
    forged.write_bytes(SOURCE.replace(b"np.divide", b"np.multiply"))
    opened = WorkerSite(_stores(served.stores.settings), served.stores.settings.serve, LoopbackAccess([8400]), place=0)
    opened.start()
    failed = opened.models[BUYER].failed
    assert failed is not None and "does not match the hash that the release pins" in failed.why
    opened.close()
    forged.write_bytes(SOURCE)


ARROW = {
    "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "str": pa.string(),
    "time": pa.timestamp("us", "UTC"),
}  # fmt: skip
COLUMNS: list[tuple[Kind, list[Any]]] = [
    ("float", [1.5, -2.0]),
    ("float", [None, 2.0]),
    ("int", [1, 2**40]),
    ("int", [None, 3]),
    ("bool", [True, False]),
    ("bool", [None, True]),
    ("str", ["a", ""]),
    ("str", [None, "b"]),
    ("time", [1_700_000_000_000_001, -5]),
    ("time", [None, 7]),
]


@pytest.mark.parametrize(("kind", "values"), COLUMNS)
def test_functions_are_given_what_they_were_given_in_training(kind: Kind, values: list[Any]) -> None:
    trained = array_of_column(pa.chunked_array([pa.array(values, ARROW[kind])]), kind)
    served = array_of_values(values, kind)
    assert served.dtype == trained.dtype
    np.testing.assert_array_equal(served, trained)
    assert values_of_array(served, kind) == values
