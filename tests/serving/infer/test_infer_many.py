"""Many rows in one request: answered in a thread, each logged and counted, and single rows do not wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from served_client import Client
from served_model import PRICE, SIZES, Served, additive, open_models, sized

from tidemill.core.records.prediction import Prediction
from tidemill.core.records.signature import InputField, OnDemandFeature, Signature, outputs_of
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.serving import ServerHandle, start
from tidemill.serving.infer.infer_route import MANY

SLOW = "slow"
#: Takes its time over many rows, and none over one.
SOURCE = b"""from __future__ import annotations


def slowly(length):
    spent = 0
    for one in range(20_000_000 if len(length) > 1 else 0):
        spent += one
    return {"half": length / 2 + 0 * spent}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = open_models(tmp_path_factory.mktemp("many") / "project", slot_s=3600)
    made.promote(PRICE, *sized("number", "price"))
    half = InputField(name="half", kind="float")
    computed = OnDemandFeature(function="slowly", module="features/slowly.py", takes=("length",), gives=(half,))
    inputs = (*SIZES, half)
    signature = Signature(
        task="number", target="price", request=SIZES, inputs=inputs, outputs=outputs_of("number"), computed=(computed,)
    )
    model = additive("number", "price", inputs, [0.3, -0.2, 1.0])
    made.promote(SLOW, model, signature, modules={"features/slowly.py": SOURCE})
    return made


@pytest.fixture(scope="module")
def running(served: Served) -> Iterator[ServerHandle]:
    with start(served.plan()) as server:
        server.wait_ready(60)
        yield server


def body(lengths: list[float]) -> dict[str, Any]:
    tensors = [("length", lengths), ("width", [1.0] * len(lengths))]
    return {
        "inputs": [{"name": name, "shape": [len(data)], "datatype": "FP64", "data": data} for name, data in tensors]
    }


def asked(port: int, model: str, lengths: list[float]) -> dict[str, Any]:
    client = Client(port)
    status, _, answer = client("POST", f"/v2/models/{model}/infer", body(lengths))
    client.connection.close()
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def counts(port: int) -> dict[str, float]:
    client = Client(port)
    lines = client("GET", "/metrics")[2].splitlines()
    client.connection.close()
    told = [line.split() for line in lines if line.startswith("tidemill_predictions_total")]
    return {name.split('"')[1]: float(value) for name, value in told}


def logged(served: Served, model: str) -> list[Prediction]:
    frames = [
        frame for path in segment_files(served.stores.state / "log" / "predictions") for frame in read_frames(path)
    ]
    found = [msgspec.msgpack.decode(frame.payload, type=Prediction) for frame in frames]
    return [one for one in found if one.model == model]


@pytest.mark.parametrize("n", [MANY + 1, 1_000])
def test_every_row_is_answered_logged_and_counted_once_and_repeated_after(
    served: Served, running: ServerHandle, n: int
) -> None:
    lengths = (np.arange(n) / 7 + n).tolist()
    before, earlier = counts(running.port), len(logged(served, PRICE))
    answer = asked(running.port, PRICE, lengths)
    model = sized("number", "price")[0]
    expected = model.predict(pa.table({"length": lengths, "width": [1.0] * n}))["value"]
    assert answer["outputs"][0]["data"] == expected.tolist()
    ids = answer["parameters"]["prediction_ids"].split(",")
    assert answer["parameters"]["logged"] is True and len(set(ids)) == n
    records = logged(served, PRICE)[earlier:]
    assert [one.prediction_id for one in records] == ids
    assert [one.items[0].score for one in records] == expected.tolist()
    again = asked(running.port, PRICE, lengths)
    assert again["parameters"]["prediction_ids"].split(",") == ids
    assert Counter(one.kind for one in logged(served, PRICE)[earlier:]) == {"computed": n, "repeat": n}
    after = counts(running.port)
    assert {kind: after[kind] - before.get(kind, 0.0) for kind in ("computed", "repeat")} == {
        "computed": n,
        "repeat": n,
    }


def test_a_single_row_is_answered_while_many_are_worked_on(running: ServerHandle) -> None:
    done: list[str] = []

    def many() -> None:
        asked(running.port, SLOW, [float(one) for one in range(MANY + 1)])
        done.append("many")

    thread = threading.Thread(target=many)
    thread.start()
    time.sleep(0.2)  # it is at work by now
    for number in range(5):
        assert asked(running.port, SLOW, [2.0 + number])["outputs"][0]["data"]
    done.append("single")
    thread.join(30)
    assert done == ["single", "many"]


def test_two_such_requests_at_once_are_one_answer_and_its_repeat(served: Served, running: ServerHandle) -> None:
    lengths = [1000.0 + one for one in range(MANY + 1)]
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(asked(running.port, SLOW, lengths)["parameters"]["prediction_ids"])
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1]
    ids = set(found[0].split(","))
    kinds = Counter(one.kind for one in logged(served, SLOW) if one.prediction_id in ids)
    assert kinds == {"computed": MANY + 1, "repeat": MANY + 1}
