"""A model that was learned elsewhere becomes a candidate release, through the gates of any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest_loop import Project
from small_graphs import folder_of, linear, named

from tidemill.core.errors import CardIncomplete, ImportRefused, NotPublishable, OriginMissing
from tidemill.loop.training.import_model import ImportResult, import_model
from tidemill.models.tabular import open_tabular, parity, read_golden

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SAID: dict[str, Any] = {
    "helps": "people who wait",
    "could_harm": "nobody that we know of",
    "source": "a notebook of 2023",
    "licence": "internal",
    "revision": "2",
}


def card(place: Path, **said: Any) -> Path:
    file = place / "said.json"
    file.write_text(json.dumps({key: value for key, value in (SAID | said).items() if value != ""}))
    return file


def imported(project: Project, name: str, source: Path, **given: Any) -> ImportResult:
    stores, _ = project.open()
    return import_model(stores, name, str(source), **given)


def test_a_folder_with_a_graph_becomes_a_release_that_can_be_promoted(project: Project, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wait", named(), **{k: v for k, v in SAID.items() if isinstance(v, str)})
    made = imported(project, "wait", folder)
    assert (made.release.name, made.anew) == ("wait@1", True)
    assert made.release.signature is not None
    assert [(field.name, field.kind) for field in made.release.signature.request] == [
        ("age", "float"),
        ("income", "float"),
    ]
    assert made.release.card.origin["licence"] == "internal"
    assert len(made.release.card.origin["sha256"]) == 64
    stores, _ = project.open()
    assert stores.releases.promote("wait@1").name == "wait@1"
    assert open_tabular(stores.releases.bundle(made.release.bundle)).predict_row([1.0, 2.0]) == [3.0]


def test_the_same_import_twice_gives_the_same_release(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(named())
    first = imported(project, "wait", source, card=card(tmp_path))
    again = imported(project, "wait", source, card=card(tmp_path))
    assert (again.release, again.anew) == (first.release, False)
    source.write_bytes(named(("age", "income", "more")))
    assert imported(project, "wait", source, card=card(tmp_path)).release.number == 2


def test_golden_rows_are_kept_answered_and_measured(project: Project, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(400, 2))
    came = (rng.random(400) < 1 / (1 + np.exp(-(vector @ [2.0, -1.0] + 0.5)))).astype(int)
    golden = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": vector[:, 0], "b": vector[:, 1], "came": came}), golden)
    source = tmp_path / "model.onnx"
    source.write_bytes(linear(sigmoid=True))
    made = imported(project, "coming", source, card=card(tmp_path, target="came", task="binary"), golden=golden)
    assert made.release.signature is not None
    assert made.release.signature.classes == ("0", "1")
    assessment = made.release.card.assessment
    assert assessment is not None
    assert assessment.n_test == 400
    assert {score.name: score for score in assessment.scores}["auc"].model.value > 0.75
    stores, _ = project.open()
    bundle = stores.releases.bundle(made.release.bundle)
    inputs, answers = read_golden(bundle)
    assert inputs.column_names == ["a", "b"]
    assert answers == pytest.approx(1 / (1 + np.exp(-(vector @ [2.0, -1.0] + 0.5))), rel=1e-4)
    assert parity(open_tabular(bundle), bundle) < 1e-6


def test_lightgbm_text_brings_its_names_and_categories(project: Project, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=300), "city": pd.Categorical(rng.choice(["Ulm", "Bonn"], 300))})
    target = frame["age"] + (frame["city"] == "Ulm") * 3.0
    data = lightgbm.Dataset(frame, target)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_per_group": 1}, data, 10)
    source, golden = tmp_path / "trees.txt", tmp_path / "rows.csv"
    booster.save_model(source)
    golden.write_text("age,city\n0.5,Ulm\n0.5,Bonn\n,\n0.5,Oslo\n")
    made = imported(project, "fare", source, card=card(tmp_path, target="fare"), golden=golden)
    assert made.release.signature is not None
    assert [(field.name, field.kind) for field in made.release.signature.inputs] == [
        ("age", "float"),
        ("city", "str"),
    ]
    stores, _ = project.open()
    answers = read_golden(stores.releases.bundle(made.release.bundle))[1]
    odd = pd.DataFrame({"age": [0.5, 0.5, np.nan, 0.5], "city": pd.Categorical(["Ulm", "Bonn", None, None])})
    assert answers == pytest.approx(booster.predict(odd), rel=1e-9)
    assert made.notes == ("not evaluated: the rows do not contain the target (the card may name it)",)


@pytest.mark.parametrize("silent", ["helps", "could_harm"])
def test_a_card_must_say_who_is_served_and_who_could_be_harmed(project: Project, tmp_path: Path, silent: str) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(named())
    with pytest.raises(CardIncomplete, match=silent):
        imported(project, "wait", source, card=card(tmp_path, **{silent: ""}))


def test_what_is_not_there_is_said_with_the_next_step(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="there is no file or folder"):
        imported(project, "wait", tmp_path / "nothing")
    source = tmp_path / "bare" / "model.onnx"
    source.parent.mkdir()
    source.write_bytes(named())
    with pytest.raises(OriginMissing, match="there is no card") as bare:
        imported(project, "wait", source)
    assert "--card" in str(bare.value)


@pytest.mark.parametrize("silent", ["source", "licence", "revision"])
def test_a_card_must_say_where_a_model_comes_from(project: Project, tmp_path: Path, silent: str) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(named())
    with pytest.raises(OriginMissing, match=silent):
        imported(project, "wait", source, card=card(tmp_path, **{silent: ""}))


def test_what_is_refused_leaves_nothing(project: Project, tmp_path: Path) -> None:
    pickle, graph, rows = tmp_path / "model.pkl", tmp_path / "model.onnx", tmp_path / "rows.csv"
    pickle.write_bytes(b"\x80\x04N.")
    graph.write_bytes(linear())
    rows.write_text("only\n1\n")
    with pytest.raises(ImportRefused, match="neither an ONNX model nor a LightGBM text model"):
        imported(project, "wait", pickle, card=card(tmp_path))
    with pytest.raises(ImportRefused, match="does not name its inputs"):
        imported(project, "wait", graph, card=card(tmp_path))
    with pytest.raises(ImportRefused, match="reads 2 numbers, but the rows have 1"):
        imported(project, "wait", graph, card=card(tmp_path), golden=rows)
    with pytest.raises(OriginMissing, match="pins the sha256"):
        imported(project, "wait", graph, card=card(tmp_path, sha256="0" * 64))
    graph.write_bytes(b"\x80\x04N.")
    with pytest.raises(NotPublishable, match="cannot be used"):
        imported(project, "wait", graph, card=card(tmp_path))
    stores, _ = project.open()
    assert stores.releases.models() == []
    assert list(stores.blobs.keys("bundle:")) == []


def test_the_command_line_says_what_came(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tidemill.cli.main import main

    source = tmp_path / "model.onnx"
    source.write_bytes(named())
    project.open()
    asked = ["import", "wait", str(source), "--card", str(card(tmp_path)), "--project", str(project.path)]
    for words, hint in (
        ("no rows were given", "Created wait@1. Promote it with: tidemill promote wait@1"),
        ("The same files were imported before", "wait@1 is ready. Promote it with: tidemill promote wait@1"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(asked)
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        assert words in said.out
        assert hint in said.out


@pytest.mark.slow
def test_models_that_mlflow_kept_come_in(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightgbm
        import mlflow
        import pandas as pd
        from sklearn.compose import ColumnTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OneHotEncoder

        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"age": rng.normal(size=300), "city": rng.choice(["Ulm", "Bonn"], 300)})
        came = (frame["age"] + (frame["city"] == "Ulm") > 0.5).astype(int)
        columns = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
        pipeline = Pipeline([("c", columns), ("m", LogisticRegression())]).fit(frame, came)
        data = lightgbm.Dataset(frame[["age"]], came)
        booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
        trees, pickled = tmp_path / "trees", tmp_path / "pipeline"
        mlflow.lightgbm.save_model(booster, str(trees), pip_requirements=["lightgbm"])
        usual = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
        mlflow.sklearn.save_model(pipeline, str(pickled), **usual)
    golden = tmp_path / "rows.csv"
    frame.assign(came=came).to_csv(golden, index=False)
    told = card(tmp_path, task="binary", target="came")
    first = imported(project, "trees", trees, card=told, golden=golden)
    assert first.release.card.assessment is not None
    with pytest.raises(ImportRefused, match="--trust-pickle") as refused:
        imported(project, "lines", pickled, card=told, golden=golden)
    assert "runs code" in str(refused.value)
    second = imported(project, "lines", pickled, card=told, golden=golden, trust_pickle=True)
    stores, _ = project.open()
    bundle = stores.releases.bundle(second.release.bundle)
    assert {file.suffix for file in bundle.iterdir()} == {".json", ".onnx", ".arrow"}
    assert read_golden(bundle)[1] == pytest.approx(pipeline.predict_proba(frame)[:, 1], rel=1e-9)
    trees_answers = read_golden(stores.releases.bundle(first.release.bundle))[1]
    assert trees_answers == pytest.approx(booster.predict(frame[["age"]]), rel=1e-9)
