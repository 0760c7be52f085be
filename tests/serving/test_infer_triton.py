"""NVIDIA's client for Triton against a real server, unchanged and with its defaults: JSON and binary tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from served_model import CHURN, CHURN_FIELDS, SPECIES, churn, churn_signature, open_models, sized

from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.models.tabular import TabularModel
from tidemill.models.tabular.recipe import NumberColumn, TabularRecipe, TreesMember
from tidemill.serving import start
from tidemill.serving.infer.model_metadata import EXTENSIONS

triton: Any = pytest.importorskip("tritonclient.http", exc_type=ImportError)
utils: Any = pytest.importorskip("tritonclient.utils")
lightgbm: Any = pytest.importorskip("lightgbm", exc_type=ImportError)
KINDS = ("a", "b", "c")
INPUTS = pa.table(
    {
        "age": pa.array([31, 55, 20], pa.int64()),
        "balance": pa.array([1.5, None, -3.25], pa.float64()),
        "member": pa.array([True, False, True]),
        "plan": pa.array(["gold", "", "blé"], pa.string()),
        "joined": pa.array([1_700_000_000_000_000] * 3, pa.timestamp("us", "UTC")),
    }
)
TRITON = {"float": "FP64", "int": "INT64", "bool": "BOOL", "str": "BYTES", "time": "INT64"}


def rows() -> np.ndarray:
    """float64 (400, 3), some missing."""
    found = np.random.default_rng(3).normal(size=(400, 3))
    found[::7, 1] = np.nan
    return found


def trees() -> tuple[Any, TabularModel, Signature]:
    """A booster of 30 trees, the same as a model, and how that is asked."""
    given = {"objective": "binary", "num_leaves": 8, "verbose": -1, "num_threads": 1, "seed": 1}
    booster = lightgbm.train(given, lightgbm.Dataset(rows(), (np.nansum(rows(), 1) > 0) * 1), num_boost_round=30)
    fields = tuple(InputField(name=f"x{i}", kind="float") for i in range(3))
    recipe = TabularRecipe(
        task="binary", target="y", inputs=fields, classes=("no", "yes"),
        encoders=tuple(NumberColumn(input=field.name) for field in fields),
        members=(TreesMember(name="trees", file="trees.txt", columns=(0, 1, 2)),), weights=(1.0,), bias=(0.0,),
        link="sigmoid",
    )  # fmt: skip
    signature = Signature(
        task="binary", target="y", request=fields, inputs=fields, outputs=outputs_of("binary"), classes=("no", "yes")
    )
    return booster, TabularModel(recipe, {"trees.txt": booster.model_to_string().encode()}), signature


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    served = open_models(tmp_path_factory.mktemp("triton") / "project")
    served.promote(CHURN, churn(), churn_signature())
    served.promote(SPECIES, *sized("classes", "species", KINDS))
    served.promote("trees", *trees()[1:])
    with start(served.plan()) as server:
        server.wait_ready(60)
        asking = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        yield asking
        asking.close()


def inputs(*, binary: bool) -> list[Any]:
    found = []
    for field in CHURN_FIELDS:
        column = INPUTS[field.name]
        if field.kind == "str":
            values = np.array([text.encode() for text in column.to_pylist()], object)
        elif field.kind == "time":
            values = column.cast(pa.int64()).to_numpy()
        else:
            values = column.to_numpy()
        if not binary and field.kind == "float":
            values = np.nan_to_num(values)
        one = triton.InferInput(field.name, [len(values)], TRITON[field.kind])
        one.set_data_from_numpy(values, binary_data=binary)
        found.append(one)
    return found


def test_server_and_model_say_what_they_are(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(CHURN) and client.is_model_ready(CHURN, "1")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == EXTENSIONS
    about = client.get_model_metadata(CHURN, "1")
    assert [(one["name"], one["datatype"]) for one in about["inputs"]] == [
        (field.name, TRITON[field.kind]) for field in CHURN_FIELDS
    ]


def test_binary_tensors_give_the_model_s_own_answers(client: Any) -> None:
    found = client.infer(CHURN, inputs(binary=True), request_id="seven")
    expected = churn().predict(INPUTS)
    np.testing.assert_allclose(found.as_numpy("probability"), expected["probability"], rtol=1e-12)
    assert [label.decode() for label in found.as_numpy("label")] == expected["label"].tolist()
    said = found.get_response()
    assert (said["id"], said["model_version"], said["parameters"]["logged"]) == ("seven", "1", True)


def test_json_tensors_give_the_same(client: Any) -> None:
    wanted = [triton.InferRequestedOutput("probability", binary_data=False)]
    found = client.infer(CHURN, inputs(binary=False), outputs=wanted)
    filled = INPUTS.set_column(1, "balance", pa.array([1.5, 0.0, -3.25]))
    np.testing.assert_allclose(found.as_numpy("probability"), churn().predict(filled)["probability"], rtol=1e-12)
    assert found.as_numpy("label") is None


def test_a_matrix_of_probabilities_in_bytes_and_a_matrix_of_inputs(client: Any) -> None:
    matrix = np.array([[2.0, 1.0], [5.5, np.nan]])
    one = triton.InferInput("input-0", [2, 2], "FP64")
    one.set_data_from_numpy(matrix)
    wanted = [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("probabilities")]
    found = client.infer(SPECIES, [one], outputs=wanted, model_version="1")
    given = pa.table({"length": matrix[:, 0], "width": pa.array([1.0, None], pa.float64())})
    expected = sized("classes", "species", KINDS)[0].predict(given)
    np.testing.assert_allclose(found.as_numpy("probabilities"), expected["probabilities"], rtol=1e-12)
    assert [label.decode() for label in found.as_numpy("label")] == expected["label"].tolist()


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int32, np.int8, np.uint64])
def test_other_number_types_are_read_as_they_are(client: Any, kind: Any) -> None:
    values = np.array([2, 5], kind)
    one = triton.InferInput("length", [2, 1], utils.np_to_triton_dtype(kind))
    one.set_data_from_numpy(values.reshape(2, 1))
    found = client.infer(SPECIES, [one]).as_numpy("probabilities")
    given = pa.table({"length": [2.0, 5.0], "width": pa.array([None, None], pa.float64())})
    np.testing.assert_allclose(found, sized("classes", "species", KINDS)[0].answer(given), rtol=1e-12)


def test_errors_reach_the_client_as_text(client: Any) -> None:
    one = triton.InferInput("lenght", [1], "FP64")
    one.set_data_from_numpy(np.array([1.0]))
    with pytest.raises(utils.InferenceServerException, match=r"no input lenght.*length"):
        client.infer(SPECIES, [one])
    with pytest.raises(utils.InferenceServerException, match="shared memory"):
        shared = triton.InferInput("length", [1], "FP64")
        shared.set_shared_memory("region", 8)
        client.infer(SPECIES, [shared])


def test_trees_answer_in_the_server_as_in_their_own_library(client: Any) -> None:
    booster = trees()[0]
    one = triton.InferInput("inputs", [400, 3], "FP64")
    for some in (rows(), rows()[:1], rows()[:5]):
        one.set_shape(list(some.shape)).set_data_from_numpy(np.ascontiguousarray(some))
        found = client.infer("trees", [one]).as_numpy("probability")
        np.testing.assert_allclose(found, booster.predict(some, num_threads=1), rtol=1e-12)
