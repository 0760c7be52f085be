"""Inputs that are unlike the training rows are named in the response, the log and the metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_check import DescribedAnswers
from served_client import Client
from served_model import CHURN, Served, churn, churn_signature, open_models

from tidemill.core.records.prediction import Prediction
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.feedback.log_tables import prediction_rows
from tidemill.feedback.record_decoder import RecordDecoder
from tidemill.models.tabular.input_ranges import InputRange, InputRanges
from tidemill.serving import start

#: A model whose bundle was written before there were ranges.
BEFORE = "before"
RANGES = InputRanges(
    n_rows=1000,
    inputs=(
        InputRange(name="age", low=18, high=90),
        InputRange(name="balance", low=-10, high=10, missing=True),
        InputRange(name="plan", texts=("gold", "silver")),
    ),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = open_models(tmp_path_factory.mktemp("models") / "project", slot_s=3600)
    made.promote(CHURN, churn(), churn_signature(), ranges=RANGES)
    made.promote(BEFORE, churn(0.01), churn_signature())
    return made


@pytest.fixture(scope="module")
def asks(served: Served) -> Iterator[Client]:
    with start(served.plan()) as server:
        server.wait_ready(60)
        client = Client(server.port)
        yield client
        client.connection.close()


def infer(asks: Client, model: str = CHURN, **columns: list[Any]) -> dict[str, Any]:
    datatypes = {"age": "INT64", "balance": "FP64", "plan": "BYTES"}
    inputs = [
        {"name": name, "shape": [len(data)], "datatype": datatypes[name], "data": data}
        for name, data in columns.items()
    ]
    status, _, answer = asks("POST", f"/v2/models/{model}/infer", {"inputs": inputs})
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def probabilities(answer: dict[str, Any]) -> list[float]:
    return next(one["data"] for one in answer["outputs"] if one["name"] == "probability")


@pytest.mark.parametrize("n", [1, 100])  # row by row, and as a table in a thread
def test_rows_with_unseen_inputs_are_named(asks: Client, served: Served, n: int) -> None:
    ages, plans, balances = [30, 130, 18], ["gold", "platinum", None], [0.5, None, 11]
    answer = infer(asks, age=ages * n, plan=plans * n, balance=balances * n)
    rows = json.loads(answer["parameters"]["unseen"])
    assert rows == {
        str(row): names
        for start in range(0, 3 * n, 3)
        for row, names in ((start + 1, ["age", "plan"]), (start + 2, ["balance", "plan"]))
    }
    ids = answer["parameters"]["prediction_ids"].split(",")
    folder = served.stores.state / "log" / "predictions"
    payloads = [frame.payload for path in segment_files(folder) for frame in read_frames(path)]
    records = [record for record in map(RecordDecoder(Prediction), payloads) if record.prediction_id in ids]
    table = prediction_rows(records)
    assert dict(zip(table["prediction_id"].to_pylist(), table["unseen"].to_pylist(), strict=True)) == {
        one: rows.get(str(row), []) for row, one in enumerate(ids)
    }


def test_the_other_protocol_names_them_too(asks: Client) -> None:
    records = {"dataframe_records": [{"age": 30, "plan": "gold"}, {"age": 17, "plan": "gold"}]}
    answer = asks("POST", "/invocations?model=churn", records)
    assert (answer[0], answer[2]["unseen"]) == (200, {"1": ["age"]})
    DescribedAnswers(asks("GET", "/openapi.json")[2]).check("POST", "/invocations", answer)


def test_rows_like_the_training_rows_say_nothing(asks: Client) -> None:
    assert "unseen" not in infer(asks, age=[18, 90], plan=["gold", "silver"])["parameters"]


def test_blanks_at_the_ends_of_a_known_text_change_nothing(asks: Client) -> None:
    without, blanks = (infer(asks, age=[30], plan=[plan]) for plan in ("gold", " gold\t"))
    assert probabilities(without) == probabilities(blanks)
    assert without["parameters"]["prediction_ids"] == blanks["parameters"]["prediction_ids"]
    assert "unseen" not in blanks["parameters"]


def test_they_are_counted(asks: Client) -> None:
    def count() -> float:
        lines = asks("GET", "/metrics")[2].splitlines()
        return float(next(line for line in lines if line.startswith("tidemill_unseen_rows_total")).split()[1])

    before = count()
    infer(asks, age=[30, 95, 96], plan=["gold", "bronze", "gold"])
    assert count() == before + 2


def test_a_bundle_written_before_has_no_ranges(asks: Client) -> None:
    assert "unseen" not in infer(asks, BEFORE, age=[130], plan=["platinum"])["parameters"]
