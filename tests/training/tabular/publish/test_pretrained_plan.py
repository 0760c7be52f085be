"""Models from elsewhere as `learn=`: nothing is fitted, the file is published as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimated_rows import prepared, rows
from small_graphs import folder_of, linear, named, words

import tidemill as tm
from tidemill.core.errors import ImportRefused, NotPublishable
from tidemill.training.tabular.estimator_plan import estimator_plan
from tidemill.training.tabular.resolve_learner import learn_settings

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_a_matrix_is_read_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    examples = rows("number", 50, numbers_only=True, whole=True)
    plan = estimator_plan(tm.pretrained(folder_of(tmp_path, linear())))
    model = plan.fit(examples)
    age, income = (np.asarray(examples.inputs[name]) for name in ("age", "income"))
    assert model.answer(examples.inputs) == pytest.approx(2 * age - income + 0.5, rel=1e-4)
    assert model.parts["model.onnx"] == linear()


def test_named_inputs_are_found_by_name(tmp_path: Path) -> None:
    examples = rows("number", 20, whole=True)
    model = estimator_plan(tm.pretrained(folder_of(tmp_path, named(("income", "age"))))).fit(examples)
    assert model.predict_row([1.0, 2.0, "Bonn", None]) == [3.0]


def test_the_hash_of_the_file_is_among_its_settings(tmp_path: Path) -> None:
    one, two = (tm.pretrained(folder_of(tmp_path / str(n), linear(bias=n))) for n in (1, 2))
    assert learn_settings(one)["licence"] == "CC0-1.0"
    assert learn_settings(one)["sha256"] != learn_settings(two)["sha256"]


@pytest.mark.parametrize(
    ("raw", "words_"),
    [(lambda: named(("age", "agee")), "'agee'"), (lambda: linear((1.0,) * 5), "5 numbers"), (words, "'texts'")],
)
def test_a_graph_that_reads_something_else_is_refused(tmp_path: Path, raw: Any, words_: str) -> None:
    with pytest.raises(NotPublishable, match=words_):
        estimator_plan(tm.pretrained(folder_of(tmp_path, raw()))).fit(rows("number", 20))


def test_a_graph_of_labels_and_maps_says_how_to_export_it(tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    examples = rows("binary", 60, numbers_only=True, whole=True)
    matrix = np.column_stack([np.asarray(column) for column in examples.inputs.columns]).astype(np.float32)
    fitted = LogisticRegression(max_iter=500).fit(matrix, examples.target.astype(int))
    with pytest.raises(NotPublishable, match="no tensor of floats") as refused:
        estimator_plan(tm.pretrained(folder_of(tmp_path / "map", _graph(skl2onnx, fitted, matrix)))).fit(examples)
    assert "'zipmap': False" in str(refused.value)
    plain = _graph(skl2onnx, fitted, matrix, options={"zipmap": False})
    model = estimator_plan(tm.pretrained(folder_of(tmp_path / "plain", plain))).fit(examples)
    assert model.answer(examples.inputs) == pytest.approx(fitted.predict_proba(matrix)[:, 1], rel=1e-4, abs=1e-6)


def _graph(skl2onnx: Any, fitted: Any, matrix: Any, **given: Any) -> bytes:
    return bytes(
        skl2onnx.to_onnx(fitted, matrix[:1], target_opset={"": 18, "ai.onnx.ml": 3}, **given).SerializeToString()
    )


def test_a_text_that_stands_in_no_column_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    examples = rows("number", 20)
    renamed = replace(
        examples,
        fields=tuple(replace_name(field, "texts" if field.name == "job" else field.name) for field in examples.fields),
        inputs=examples.inputs.rename_columns(["age", "income", "city", "texts"]),
    )
    with pytest.raises(NotPublishable, match="1 dimensions"):
        estimator_plan(tm.pretrained(folder_of(tmp_path, words()))).fit(renamed)


def replace_name(field: Any, name: str) -> Any:
    import msgspec

    return msgspec.structs.replace(field, name=name)


def test_a_pure_python_function_of_mlflow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n")
    with pytest.raises(NotPublishable, match="only a Python function"):
        estimator_plan(tm.pyfunc(str(tmp_path))).fit(rows("number", 20))


def test_a_folder_of_mlflow_may_not_point_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.onnx").write_bytes(linear())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors:\n  onnx:\n    data: ../secret.onnx\n")
    with pytest.raises(ImportRefused, match="not a file in that folder"):
        estimator_plan(tm.pyfunc(str(tmp_path / "m"))).fit(rows("number", 20))


def test_a_folder_of_mlflow_with_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors:\n  onnx:\n    data: {'m' * 5_000}.onnx\n")
    with pytest.raises(ImportRefused, match="not a file in that folder"):
        estimator_plan(tm.pyfunc(str(tmp_path))).fit(rows("number", 20))


def test_neither_a_folder_nor_a_uri_is_refused() -> None:
    with pytest.raises(ImportRefused, match="neither a folder nor an MLflow URI"):
        estimator_plan(tm.pyfunc("churn")).settings()


def _pickled(place: Path, thing: Any) -> Path:
    import pickle

    (place / "model.pkl").write_bytes(pickle.dumps(thing))
    (place / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\nutc_time_created: x\n")
    return place


@pytest.mark.slow  # another process imports scikit-learn
def test_a_pickle_is_read_by_trust_alone_and_leaves_onnx(tmp_path: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    from tidemill.training.tabular.publish.estimator_frame import frame_of

    examples = rows("binary", 300)
    frame = frame_of(examples.inputs, examples.fields)
    fitted = prepared(linear_model.LogisticRegression()).fit(frame, examples.target.astype(int))
    folder = str(_pickled(tmp_path, fitted))
    with pytest.raises(ImportRefused, match="as a pickle, which runs code"):
        estimator_plan(tm.pyfunc(folder)).fit(examples)
    model = estimator_plan(tm.pyfunc(folder, trust_pickle=True)).fit(examples)
    assert list(model.parts) == ["model.onnx"]
    assert model.answer(examples.inputs) == pytest.approx(fitted.predict_proba(frame)[:, 1], rel=1e-9)


class Caller:
    """A pickle that calls somebody when it is read."""

    def __reduce__(self) -> Any:
        import socket

        return socket.create_connection, (("127.0.0.1", 9),)


@pytest.mark.slow  # another process imports scikit-learn
def test_a_pickle_that_opens_a_connection_is_stopped(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    folder = str(_pickled(tmp_path, Caller()))
    with pytest.raises(ImportRefused, match=r"may not do this: socket\."):
        estimator_plan(tm.pyfunc(folder, trust_pickle=True)).fit(rows("binary", 20))
