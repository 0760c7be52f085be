"""Routes that clients of MLflow and Triton ask and that were not there, CSV bodies, probabilities without classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from served_client import Client
from served_model import CHURN, PRICE, SPECIES, Served, churn, churn_signature, open_models, sized

from tidemill import __version__
from tidemill.serving import ServerHandle, start

KINDS = ("a", "b", "c")
CSV = {"Content-Type": "text/csv"}
TABLE = b'plan,age,balance,member,joined\ngold,31,1.5,true,2026-03-01T10:30:00Z\n"a,b",55,,no,\n,20,-3.25,,\n'
RECORDS = [
    {"plan": "gold", "age": 31, "balance": 1.5, "member": True, "joined": "2026-03-01T10:30:00Z"},
    {"plan": "a,b", "age": 55, "member": False}, {"age": 20, "balance": -3.25},
]  # fmt: skip
#: Table -> what the answer says.
WRONG = {
    "a text for a number": (b"age,balance\n31,x\n", "line 2: balance is not a finite number"),
    "a fraction for an integer": (b"age\n31\n1.5\n", "line 3: age is not an integer"),
    "a time without a zone": (b"age,joined\n31,2026-03-01T10:30:00\n", "line 2: joined"),
    "too few fields": (b"age,balance\n31\n", "line 2: has 1 field but 2 are declared"),
    "an open quote": (b'age,plan\n31,"gold\n', "line 2: "),
    "a column that is no input": (b"age,colour\n31,red\n", "a column that is not an input of the model"),
    "an index": (b",age\n0,31\n", "column 1 has no name"),
    "a column twice": (b"age,age\n31,31\n", "names `age` twice"),
    "a missing value": (b"age,balance\n31,1\n,2\n", "`age` is required, and missing in row 1"),
    "a missing column": (b"balance\n1.5\n", "`age` is required, and missing in the request"),
    "no rows": (b"age,balance\n", "the request has no rows"),
    "no text": (b"\xff\xfe\x00age", "the first line"),
    "nothing": (b"", "the first line has no names of columns"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerHandle, Served]]:
    made = open_models(tmp_path_factory.mktemp("protocols") / "project", slot_s=3600, max_rows=50, workers=2)
    made.promote(CHURN, churn(), churn_signature())
    made.promote(PRICE, *sized("number", "price"))
    made.promote(SPECIES, *sized("classes", "species", KINDS))
    with start(made.plan()) as server:
        server.wait_ready(60)
        yield server, made


@pytest.fixture
def asks(running: tuple[ServerHandle, Served]) -> Iterator[Client]:
    client = Client(running[0].port)
    yield client
    client.connection.close()


def test_mlflow_clients_find_the_server_ready(asks: Client) -> None:
    assert [asks("GET", path)[0] for path in ("/ping", "/health", "/version")] == [200, 200, 200]
    assert asks("GET", "/version")[2] == __version__


def test_the_missing_values_of_mlflow_clients_are_missing(asks: Client) -> None:
    body = {"columns": ["age", "balance", "plan"], "data": [[31, 1.5, "gold"], [20, None, None]]}
    expected = asks("POST", f"/invocations?model={CHURN}", {"dataframe_split": body})[2]
    written = json.dumps({"dataframe_split": body}).replace("null", "NaN").encode()  # as the client's json.dumps does
    assert asks("POST", f"/invocations?model={CHURN}", written)[2] == expected
    for wrong in (b"Infinity", b"-Infinity", b'"\\ud800"', b"[" * 5_000, b"1" * 5_000, b"{"):
        status, _, answer = asks("POST", f"/invocations?model={CHURN}", written.replace(b"1.5", wrong))
        assert status in (400, 413), (wrong, answer)


def test_a_csv_table_is_answered_as_the_same_records(asks: Client) -> None:
    status, _, table = asks("POST", f"/invocations?model={CHURN}", TABLE, CSV)
    assert status == 200, table
    records = asks("POST", f"/invocations?model={CHURN}", {"dataframe_records": RECORDS})[2]
    assert table == records and len(table["predictions"]) == 3
    with_mark = b"\xef\xbb\xbf" + TABLE.replace(b"\n", b"\r\n")
    assert (
        asks("POST", f"/invocations?model={CHURN}", with_mark, {"Content-Type": "Text/CSV; charset=utf-8"})[2] == table
    )


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_a_csv_table_is_named_by_line_and_column(asks: Client, what: str) -> None:
    body, said = WRONG[what]
    status, _, answer = asks("POST", f"/invocations?model={CHURN}", body, CSV)
    assert status == 400 and said in answer["error"]["message"], answer


def test_a_csv_table_is_bounded_like_other_bodies(asks: Client) -> None:
    status, _, answer = asks("POST", f"/invocations?model={CHURN}", b"age\n" + b"31\n" * 51, CSV)
    assert status == 413 and "51 rows" in answer["error"]["message"]
    status, _, answer = asks("POST", f"/invocations?model={CHURN}", b"age\n" + b"31\n" * 400_000, CSV)
    assert status == 413


def test_only_what_a_route_reads_is_accepted(asks: Client) -> None:
    for path in (f"/v2/models/{CHURN}/infer", "/v1/outcomes", "/v2/repository/index"):
        assert asks("POST", path, b"age\n31\n", CSV)[0] == 415, path
    assert asks("POST", f"/invocations?model={CHURN}", b"age\n31\n", {"Content-Type": "text/plain"})[0] == 415
    assert asks("POST", f"/invocations?model={CHURN}", TABLE, CSV | {"Content-Encoding": "gzip"})[0] == 415


def test_classes_stand_beside_probabilities(asks: Client) -> None:
    for model, name, row, classes in (
        (CHURN, "probability", {"age": 31}, ["yes"]), (SPECIES, "probabilities", {"length": 1.0}, list(KINDS)),
    ):  # fmt: skip
        answer = asks("POST", f"/invocations?model={model}", {"dataframe_records": [row]})[2]
        assert answer["classes"] == classes
        tensors = [{"name": key, "shape": [1], "datatype": "FP64", "data": [value]} for key, value in row.items()]
        outputs = {
            one["name"]: one for one in asks("POST", f"/v2/models/{model}/infer", {"inputs": tensors})[2]["outputs"]
        }
        assert json.loads(outputs[name]["parameters"]["classes"]) == classes
        assert "parameters" not in outputs["label"]
        about = {one["name"]: one for one in asks("GET", f"/v2/models/{model}")[2]["outputs"]}
        assert json.loads(about[name]["parameters"]["classes"]) == classes
    assert "classes" not in asks("POST", f"/invocations?model={PRICE}", {"inputs": {"length": [1.0]}})[2]


def test_triton_clients_get_configuration_index_and_statistics(running: tuple[ServerHandle, Served]) -> None:
    triton: Any = pytest.importorskip("tritonclient.http", exc_type=ImportError)
    np = pytest.importorskip("numpy")
    server = running[0]
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    config = client.get_model_config(CHURN)
    assert config["name"] == CHURN and config["max_batch_size"] == 0 and config["platform"] == "tidemill_tabular"
    age, balance, *_ = config["input"]
    assert age == {"name": "age", "data_type": "TYPE_INT64", "dims": [-1], "optional": False, "format": "FORMAT_NONE"}
    assert balance["optional"] and config["input"][3]["data_type"] == "TYPE_STRING"
    assert [one["name"] for one in config["output"]] == ["probability", "label"]
    assert config["instance_group"][0]["count"] == 2 and config == client.get_model_config(CHURN, "1")
    assert client.get_model_config(SPECIES)["output"][0]["dims"] == [-1, 3]
    assert {"model_configuration", "statistics"} <= set(client.get_server_metadata()["extensions"])

    ready = {"name": CHURN, "version": "1", "state": "READY", "reason": ""}
    assert client.get_model_repository_index()[0] == ready and len(client.get_model_repository_index()) == 3

    def stats(model: str = PRICE) -> Any:
        (found,) = client.get_inference_statistics(model)["model_stats"]
        return found

    before = stats()["inference_stats"]
    length = triton.InferInput("length", [2], "FP64")
    length.set_data_from_numpy(np.array([1.5, 2.5]))
    clients = [triton.InferenceServerClient(f"127.0.0.1:{server.port}") for _ in range(8)]  # of either worker
    for one in clients:
        one.infer(PRICE, [length])
    wrong = triton.InferInput("height", [1], "FP64")
    wrong.set_data_from_numpy(np.array([1.5]))
    with pytest.raises(Exception, match="no input"):
        client.infer(PRICE, [wrong])
    for one in (client, *clients):
        found = one.get_inference_statistics(PRICE)["model_stats"][0]["inference_stats"]
        assert found["success"]["count"] - before["success"]["count"] == 8
        assert found["fail"]["count"] - before["fail"]["count"] == 1
    whole = stats()
    parts = [
        whole["inference_stats"][name]["ns"] for name in ("queue", "compute_input", "compute_infer", "compute_output")
    ]
    assert min(parts[1:]) > 0 and sum(parts) == whole["inference_stats"]["success"]["ns"]
    assert whole["version"] == "1" and whole["inference_count"] >= 16 and whole["last_inference"] > 1_700_000_000_000
    assert {one["name"] for one in client.get_inference_statistics()["model_stats"]} == {CHURN, PRICE, SPECIES}
    assert client.get_inference_statistics(PRICE, "1")["model_stats"][0]["name"] == PRICE
    with pytest.raises(Exception, match="version 7"):
        client.get_model_config(CHURN, "7")


def test_the_index_says_which_models_do_not_answer(asks: Client, running: tuple[ServerHandle, Served]) -> None:
    running[1].turn(SPECIES, off=True)
    try:
        for _ in range(200):
            index = {one["name"]: one for one in asks("POST", "/v2/repository/index", b"")[2]}
            if index[SPECIES]["state"] != "READY":
                break
        assert index[SPECIES]["state"] == "UNAVAILABLE" and index[SPECIES]["reason"] == "it is switched off"
        ready = asks("POST", "/v2/repository/index", {"ready": True})[2]
        assert [one["name"] for one in ready] == [CHURN, PRICE]
    finally:
        running[1].turn(SPECIES, off=False)
