"""Tabular models over a real server: what the Open Inference Protocol asks, and answers equal to the model's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from served_client import Client
from served_model import (
    BOUNDARY,
    BUYER,
    CHURN,
    DAY,
    MODULE,
    PRICE,
    SOURCE,
    SPECIES,
    Served,
    buyer,
    churn,
    churn_signature,
    open_models,
    publish_spending,
    sized,
)

import tidemill
from tidemill.core.records.prediction import Prediction
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.serving import ServerHandle, start, wait_live

KINDS = ("a", "b", "c")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = open_models(tmp_path_factory.mktemp("models") / "project", slot_s=3600)
    made.promote(CHURN, churn(), churn_signature())
    made.promote(PRICE, *sized("number", "price"))
    made.promote(SPECIES, *sized("classes", "species", KINDS))
    model, signature = buyer()
    made.promote(BUYER, model, signature, modules={MODULE: SOURCE})
    publish_spending(made, {"ann@example.org": (250.0, "gold"), "bob@example.org": (None, "silver")})
    return made


@pytest.fixture(scope="module")
def running(served: Served) -> Iterator[ServerHandle]:
    with start(served.plan()) as server:
        server.wait_ready(60)
        yield server


@pytest.fixture
def asks(running: ServerHandle) -> Iterator[Client]:
    client = Client(running.port)
    yield client
    client.connection.close()


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def infer(asks: Client, model: str, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    status, _, answer = asks("POST", f"/v2/models/{model}/infer", {"inputs": inputs, **more})
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["data"] for one in answer["outputs"]}


def logged(served: Served, *ids: str) -> list[Prediction]:
    """The records of these predictions, or all."""
    folder = served.stores.state / "log" / "predictions"
    frames = [frame for path in segment_files(folder) for frame in read_frames(path)]
    found = [msgspec.msgpack.decode(frame.payload, type=Prediction) for frame in frames]
    return [one for one in found if not ids or one.prediction_id in ids]


JOINED = [1_700_000_000_000_000, None, 1_750_000_000_000_000]
ROWS = [
    tensor("age", "INT64", [31, 55, 20]),
    tensor("balance", "FP64", [1.5, None, -3]),
    tensor("member", "BOOL", [True, False, None]),
    tensor("plan", "BYTES", ["gold", "", None]),
    tensor("joined", "INT64", JOINED),
]


def table(rows: slice) -> pa.Table:
    return pa.table(
        {
            "age": pa.array([31, 55, 20][rows], pa.int64()),
            "balance": pa.array([1.5, None, -3.0][rows], pa.float64()),
            "member": pa.array([True, False, None][rows]),
            "plan": pa.array(["gold", "", None][rows], pa.string()),
            "joined": pa.array(JOINED[rows], pa.timestamp("us", "UTC")),
        }
    )


def test_rows_get_the_model_s_own_answers(asks: Client) -> None:
    expected = churn().predict(table(slice(None)))
    answer = infer(asks, CHURN, *ROWS, id="my-id")
    np.testing.assert_allclose(outputs(answer)["probability"], expected["probability"], rtol=1e-12)
    assert outputs(answer)["label"] == expected["label"].tolist()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("my-id", CHURN, "1")
    for row in range(3):
        alone = infer(asks, CHURN, *[tensor(one["name"], one["datatype"], [one["data"][row]]) for one in ROWS])
        np.testing.assert_allclose(outputs(alone)["probability"], expected["probability"][row], rtol=1e-12)
        assert outputs(alone)["label"] == [expected["label"][row]]


def test_each_task_has_its_outputs(asks: Client) -> None:
    sizes = [tensor("length", "FP64", [2.0, 5.5]), tensor("width", "FP64", [1.0, None])]
    given = pa.table({"length": [2.0, 5.5], "width": pa.array([1.0, None], pa.float64())})
    price = sized("number", "price")[0].predict(given)["value"]
    np.testing.assert_allclose(outputs(infer(asks, PRICE, *sizes))["value"], price, rtol=1e-12)
    model = sized("classes", "species", KINDS)[0].predict(given)
    answer = infer(asks, SPECIES, *sizes)
    (probabilities,) = [one for one in answer["outputs"] if one["name"] == "probabilities"]
    assert probabilities["shape"] == [2, 3]
    np.testing.assert_allclose(np.reshape(probabilities["data"], (2, 3)), model["probabilities"], rtol=1e-12)
    assert outputs(answer)["label"] == model["label"].tolist()
    only = infer(asks, SPECIES, *sizes, outputs=[{"name": "label"}])
    assert [one["name"] for one in only["outputs"]] == ["label"]


@pytest.mark.parametrize("name", ["inputs", "input-0"])
def test_one_matrix_holds_all_fields_where_they_are_numbers(asks: Client, name: str) -> None:
    apart = infer(asks, PRICE, tensor("length", "FP32", [2.0, 5.5]), tensor("width", "INT32", [1, 4]))
    flat = {"name": name, "shape": [2, 2], "datatype": "FP64", "data": [2.0, 1.0, 5.5, 4.0]}
    assert outputs(infer(asks, PRICE, flat)) == outputs(apart)
    assert outputs(infer(asks, PRICE, flat | {"data": [[2.0, 1.0], [5.5, 4.0]]})) == outputs(apart)


def test_a_column_may_have_two_axes_and_other_safe_types(asks: Client) -> None:
    plain = outputs(infer(asks, CHURN, *ROWS))
    others = [
        {"name": "age", "shape": [3, 1], "datatype": "FP64", "data": [[31.0], [55], [20.0]]},
        tensor("balance", "FP32", [1.5, None, -3]),
        tensor("member", "UINT8", [1, 0, None]),
        {"name": "plan", "shape": [3, 1], "datatype": "BYTES", "data": ["gold", "", None]},
        tensor("joined", "BYTES", ["2023-11-14T23:13:20+01:00", None, "2025-06-15T15:06:40Z"]),
    ]
    assert outputs(infer(asks, CHURN, *others)) == plain


def test_features_are_looked_up_and_computed_for_a_person(asks: Client, served: Served) -> None:
    at = BOUNDARY + DAY
    people = ["ann@example.org", "bob@example.org", "nobody@example.org", None]
    asked = [tensor("customer", "BYTES", people), tensor("amount", "INT64", [50] * 4), tensor("at", "INT64", [at] * 4)]
    answer = infer(asks, BUYER, *asked)
    columns = {
        "amount": [50.0] * 4,
        "spent": [250.0, None, None, None],
        "tier": ["gold", "silver", None, None],
        "ratio": [0.2, None, None, None],
    }
    types = {"amount": pa.float64(), "spent": pa.float64(), "tier": pa.string(), "ratio": pa.float64()}
    inputs = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    np.testing.assert_allclose(outputs(answer)["value"], buyer()[0].predict(inputs)["value"], rtol=1e-12)
    about = answer["parameters"]
    assert (about["release"], about["logged"]) == (f"{BUYER}@1", True)
    assert (about["features_present"], about["features_missing"]) == (3, 5)
    ids = about["prediction_ids"].split(",")
    assert len(set(ids)) == 4
    by_id = {one.prediction_id: one for one in logged(served, *ids)}
    first, last = by_id[ids[0]], by_id[ids[3]]
    assert first.subject == served.stores.surrogates("customer", "ann@example.org") and last.subject == ""
    assert [(one.item, one.score) for one in first.items] == [("orders", outputs(answer)["value"][0])]
    assert json.loads(first.features) == {
        "inputs": {"amount": 50.0, "spent": 250.0, "tier": "gold", "ratio": 0.2},
        "status": {"spent": "present", "tier": "present"},
        "at": {"spending": BOUNDARY},
    }
    assert json.loads(first.context) == {"at": at} and first.as_of == at and first.kind == "computed"


def test_a_feature_past_its_ttl_is_missing_and_said_to_be_expired(asks: Client) -> None:
    late = tensor("at", "BYTES", ["2027-01-01T00:00:00Z"])
    answer = infer(asks, BUYER, tensor("customer", "BYTES", ["ann@example.org"]), tensor("amount", "FP64", [1.0]), late)
    assert answer["parameters"]["features_expired"] == 2


def test_raw_people_are_nowhere_on_disk(asks: Client, served: Served) -> None:
    infer(asks, BUYER, tensor("customer", "BYTES", ["very.private@example.org"]), tensor("amount", "FP64", [3.0]))
    asks("POST", f"/v2/models/{BUYER}/infer", {"inputs": [tensor("customer", "BYTES", ["very.private@x"])]})
    rows = [{"customer": "very.private@example.org", "amount": 3.0}]
    status, _, answer = asks("POST", f"/invocations?model={BUYER}", {"dataframe_records": rows})
    assert status == 200 and len(answer["predictions"]) == 1
    for path in served.stores.state.rglob("*"):
        if path.is_file():
            assert b"very.private" not in path.read_bytes(), path


def test_the_same_question_within_the_slot_is_the_same_prediction(asks: Client, served: Served) -> None:
    asked = [tensor("length", "FP64", [9.25]), tensor("width", "FP64", [0.5])]
    first, again = infer(asks, PRICE, *asked), infer(asks, PRICE, *asked)
    assert first == again
    name = first["parameters"]["prediction_ids"]
    assert [one.kind for one in logged(served, name)] == ["computed", "repeat"]
    other = infer(asks, PRICE, tensor("length", "FP64", [9.25]), tensor("width", "FP64", [None]))
    assert other["parameters"]["prediction_ids"] != name
    twice = infer(asks, PRICE, tensor("length", "FP64", [9.25, 9.25]), tensor("width", "FP64", [0.5, 0.5]))
    assert len(set(twice["parameters"]["prediction_ids"].split(","))) == 2


def test_classes_are_logged_best_first_and_outcomes_are_taken(asks: Client, served: Served) -> None:
    answer = infer(asks, SPECIES, tensor("length", "FP64", [1.25]))
    (record,) = logged(served, answer["parameters"]["prediction_ids"])
    scores = [one.score for one in record.items]
    assert {one.item for one in record.items} == set(KINDS) and scores == sorted(scores, reverse=True)
    outcome = {"prediction_id": record.prediction_id, "item": "c", "what": "species", "value": 1}
    assert asks("POST", "/v1/outcomes", outcome)[::2] == (202, {"accepted": 1})


def test_metadata_as_the_protocol_has_it(asks: Client) -> None:
    assert asks("GET", "/v2")[2] == {
        "name": "tidemill",
        "version": tidemill.__version__,
        "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
    }
    assert asks("GET", "/v2/health/live")[0] == asks("GET", "/v2/health/ready")[0] == 200
    about = asks("GET", f"/v2/models/{SPECIES}")[2]
    assert about == asks("GET", f"/v2/models/{SPECIES}/versions/1")[2]
    assert about["versions"] == ["1"] and about["platform"] == "tidemill_tabular"
    assert [(one["name"], one["datatype"], one["shape"]) for one in about["outputs"]] == [
        ("probabilities", "FP64", [-1, 3]),
        ("label", "BYTES", [-1]),
    ]
    age = asks("GET", f"/v2/models/{CHURN}")[2]["inputs"][0]
    assert age == {
        "name": "age",
        "datatype": "INT64",
        "shape": [-1],
        "parameters": {"kind": "int", "optional": False, "unit": "years"},
    }
    assert asks("GET", f"/v2/models/{CHURN}/ready")[0] == asks("GET", f"/v2/models/{CHURN}/versions/1/ready")[0] == 200


def test_another_version_than_the_live_one_is_not_there(asks: Client) -> None:
    for method, path in [("GET", ""), ("GET", "/ready"), ("POST", "/infer")]:
        body = {"inputs": ROWS} if method == "POST" else None
        status, _, answer = asks(method, f"/v2/models/{CHURN}/versions/7{path}", body)
        assert status == 404 and "the live version is 1" in answer["error"]
    assert asks("POST", f"/v2/models/{CHURN}/versions/1/infer", {"inputs": ROWS})[0] == 200


def test_a_recommender_s_route_says_where_to_ask_instead(asks: Client) -> None:
    status, _, answer = asks("POST", f"/v1/recommend/{CHURN}", {"user": "u"})
    assert status == 400 and answer["error"]["tip"] == f"use POST /v2/models/{CHURN}/infer"


FRAME = {"columns": ["age", "plan", "balance"], "data": [[31, "gold", 1.5], [55, None, None]]}
RECORDS = [{"age": 31, "plan": "gold", "balance": 1.5}, {"age": 55}]
MLFLOW = [
    {"dataframe_split": FRAME},
    {"dataframe_split": FRAME | {"index": [0, 1]}},
    {"dataframe_records": RECORDS},
    {"inputs": RECORDS},
    {"instances": {"age": [31, 55], "plan": ["gold", None], "balance": [1.5, None]}},
]


@pytest.mark.parametrize("body", MLFLOW)
def test_mlflow_s_tables_are_answered_too(asks: Client, body: dict[str, Any]) -> None:
    columns = [tensor("age", "INT64", [31, 55]), tensor("plan", "BYTES", ["gold", None])]
    expected = outputs(infer(asks, CHURN, *columns, tensor("balance", "FP64", [1.5, None])))
    status, _, answer = asks("POST", f"/invocations?model={CHURN}", body)
    assert status == 200, answer
    assert answer["predictions"] == [
        {"probability": p, "label": label} for p, label in zip(*expected.values(), strict=True)
    ]
    assert answer["release"] == f"{CHURN}@1" and answer["logged"] is True


@pytest.mark.parametrize(
    ("query", "body", "says"),
    [
        ("", {"inputs": RECORDS}, "4 tabular models"),
        ("?modle=churn", {"inputs": RECORDS}, "only query parameter is `model`"),
        (f"?model={CHURN}", {}, "has 0 of the tables"),
        (f"?model={CHURN}", {"inputs": RECORDS, "instances": RECORDS}, "has 2 of the tables"),
        (f"?model={CHURN}", {"inputs": []}, "no rows"),
        (f"?model={CHURN}", {"inputs": [{"age": 31, "agee": 1}]}, "not an input of the model"),
        (f"?model={CHURN}", {"inputs": [{"age": "31"}]}, "expected an integer for `age`, found text"),
        (f"?model={CHURN}", {"inputs": [{"age": 1.5}]}, "age: row 0 is not an integer"),
        (f"?model={CHURN}", {"inputs": [{"age": 1}, {}]}, "`age` is required, and missing in row 1"),
        (f"?model={CHURN}", {"inputs": {"age": [1, 2], "plan": ["a"]}}, "different lengths"),
        (f"?model={CHURN}", {"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, "row 0"),
        (f"?model={CHURN}", {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, "twice"),
    ],
)
def test_mlflow_s_tables_that_do_not_fit_are_refused(asks: Client, query: str, body: dict[str, Any], says: str) -> None:
    status, _, answer = asks("POST", f"/invocations{query}", body)
    assert status == 400 and says in answer["error"]["message"], answer


def test_the_counters_count_rows(asks: Client) -> None:
    def count() -> float:
        lines = asks("GET", "/metrics")[2].splitlines()
        return sum(float(one.split()[-1]) for one in lines if one.startswith("tidemill_predictions_total"))

    before = count()
    infer(asks, PRICE, tensor("length", "FP64", [1.0, 2.0, 3.0]))
    assert count() == before + 3


def test_swaps_while_asking_and_the_off_switch(tmp_path: Path) -> None:
    served = open_models(tmp_path / "project")
    served.promote(CHURN, churn(), churn_signature())
    expected = {str(1 + i): churn(i / 100).predict(table(slice(0, 1)))["probability"][0] for i in range(3)}
    asked = [tensor(one["name"], one["datatype"], one["data"][:1]) for one in ROWS]
    with start(served.plan()) as server:
        server.wait_ready(60)
        asks, seen = Client(server.port), set()
        for i in range(3):
            if i:
                release = served.promote(CHURN, churn(i / 100), churn_signature())
            for _ in range(60):
                answer = infer(asks, CHURN, *asked)
                version = answer["model_version"]
                seen.add(version)
                assert outputs(answer)["probability"][0] == pytest.approx(expected[version], rel=1e-12)
            if i:
                wait_live(served.root, CHURN, release.name)
        assert infer(asks, CHURN, *asked)["model_version"] == "3" and "1" in seen
        served.turn(CHURN, off=True)
        status, answer = 200, {}
        for _ in range(500):
            status, _, answer = asks("POST", f"/v2/models/{CHURN}/infer", {"inputs": asked})
            if status != 200:
                break
        assert status == 503 and answer["code"] == "TM705" and "switched off" in answer["error"]
        assert asks("GET", f"/v2/models/{CHURN}/ready")[0] == 400
        records = logged(served)
        assert (records[-1].kind, records[-1].items, records[-1].switch) == ("off", (), "off")
        assert asks("GET", "/healthz")[2]["models"][CHURN]["off"] is True
        asks.connection.close()
