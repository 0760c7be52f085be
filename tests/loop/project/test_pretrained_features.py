"""A pre-trained model as a feature: pinned by its card, kept in the bundle, bound in the server, told on the card."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import Project
from served_client import Client
from small_graphs import folder_of, linear, words
from tabular_projects import QUICK, change, churn_project

from tidemill.core.errors import OriginMissing, RuleRefused
from tidemill.core.settings import load
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.reproduce.reproduce import reproduce
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.loop.training.train import TrainingResult, train
from tidemill.models.formats.pretrained import pretrained
from tidemill.models.formats.source_modules import shipped_function
from tidemill.models.slates.custom_rules import custom_rule
from tidemill.models.tabular.tabular_bundle import open_tabular
from tidemill.serving import start

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

DAY = date(2026, 10, 31)
FUNCTIONS = """
drift = tm.pretrained("models/drift")
liking = tm.pretrained("models/liking")


@mill.on_demand()
def drifted(tenure, MonthlyCharges):
    both = np.column_stack([tenure, MonthlyCharges])
    return {"drift": drift(vector=both)[:, 0].astype(float)}


@mill.on_demand()
def liked(Contract):
    return {"liked": liking(texts=Contract)[:, 0].astype(float)}


churn = mill.model("""


def with_models(tmp_path: Path, *, learn: str = QUICK) -> Project:
    """The churn project with two pre-trained models: `drift` of two numbers, `liking` of a text."""
    project = churn_project(tmp_path, 200, learn=learn)
    change(project.path, "\nchurn = mill.model(", FUNCTIONS)
    change(project.path, "features=[billing]", "features=[billing, drifted, liked]")
    folder_of(project.path / "models" / "drift", linear((1.0, -0.5), 0.0))
    folder_of(project.path / "models" / "liking", words(("Two year", "One year")))
    return project


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, TrainingResult]:
    project = with_models(tmp_path_factory.mktemp("pretrained"))
    project.run(DAY, backfill=True)
    return project, train(*project.open(), "churn")


def test_the_bundle_keeps_the_graphs_and_the_card_names_their_origin(learned: tuple[Project, TrainingResult]) -> None:
    project, found = learned
    stores, graph = project.open()
    bundle = stores.releases.bundle(found.release.bundle)
    for name in ("drift", "liking"):
        kept, own = (place / name for place in (bundle / "pretrained", project.path / "models"))
        assert {file.name: file.read_bytes() for file in kept.iterdir()} == {
            file.name: file.read_bytes() for file in own.iterdir()
        }
    assert found.card.origin["drift licence"] == "CC0-1.0"
    assert found.card.origin["liking sha256"] == graph.askings["churn"].pretrained["liking"].origin.sha256
    assert found.release.signature is not None
    assert [one.pretrained for one in found.release.signature.computed] == [(), ("drift",), ("liking",)]
    shipped = graph.askings["churn"].modules["features/drifted.py"].decode()
    assert "pretrained" not in shipped and "drift(vector=both)" in shipped


def test_the_server_computes_what_training_does(learned: tuple[Project, TrainingResult]) -> None:
    project, found = learned
    stores, _ = project.open()
    stores.releases.promote(found.release.name)
    shutil.move(project.path / "models", project.path / "away")  # the release needs nothing of the project's folder
    try:
        with start(serve_plan(stores.settings, overrides={"serve.port": 0, "serve.workers": 1})) as server:
            server.wait_ready(60)
            client = Client(server.port)
            status, _, answer = client("POST", "/v2/models/churn/infer", question(10, 30.0, "Two year", "Month"))
            client.connection.close()
            assert status == 200, answer
    finally:
        shutil.move(project.path / "away", project.path / "models")
    logged = [json.loads(text)["inputs"] for text in unloaded(project).lake.log("predictions")["features"].to_pylist()]
    assert [(row["drift"], row["liked"]) for row in logged] == [(-5.0, 1.0), (-5.0, 0.0)]
    model = open_tabular(stores.releases.bundle(found.release.bundle))
    by_hand = [model.predict_row([row[field.name] for field in model.recipe.inputs])[0] for row in logged]
    assert answer["outputs"][0]["data"] == by_hand


def unloaded(project: Project) -> Stores:
    """Its stores, without a look at mill.py."""
    return open_stores(project.path, load(project.path, environ={}), project.clock, name="churn")


def question(tenure: int, charges: float, *contracts: str) -> dict[str, Any]:
    n = len(contracts)
    given = {
        "tenure": ("INT64", [tenure] * n),
        "MonthlyCharges": ("FP64", [charges] * n),
        "Contract": ("BYTES", list(contracts)),
    }
    return {
        "inputs": [
            {"name": name, "shape": [n], "datatype": datatype, "data": data} for name, (datatype, data) in given.items()
        ]
    }


def test_it_is_learned_again_from_the_bundle_alone(learned: tuple[Project, TrainingResult]) -> None:
    project, found = learned
    shutil.move(project.path / "models", project.path / "away")
    try:
        again = reproduce(unloaded(project), found.release.name, here=True)
    finally:
        shutil.move(project.path / "away", project.path / "models")
    assert again.outcome == "bitwise", again.says


def test_another_graph_is_another_function_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    project = with_models(tmp_path)
    before = project.open()[1].codes
    place = project.path / "models" / "drift"
    folder_of(place, linear((1.0, 0.5), 0.0))
    after = project.open()[1].codes
    assert {name for name in before if before[name] != after[name]} == {"drifted"}
    (place / "model.onnx").write_bytes(linear())
    with pytest.raises(OriginMissing, match="pins the sha256"):
        project.open()
    shutil.rmtree(place)
    with pytest.raises(OriginMissing, match=r"cannot be read|no pre-trained model"):
        project.open()


def test_where_the_project_lies_changes_no_code(tmp_path: Path) -> None:
    project = with_models(tmp_path)
    shutil.copytree(project.path, tmp_path / "elsewhere")
    assert ProjectGraph(load_mill(project.path), open_port("engine", "polars", project.path), project.path).codes == (
        ProjectGraph(
            load_mill(tmp_path / "elsewhere"), open_port("engine", "polars", project.path), tmp_path / "elsewhere"
        ).codes
    )


@pytest.mark.slow
def test_a_pre_trained_model_may_be_the_model_and_be_published_again(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 200, learn='learn=tm.pretrained("models/ready")')
    text = (project.path / "mill.py").read_text()
    head, tail = text.split("inputs=[", 1)
    tail = tail.split("],", 1)[1].replace("features=[billing],", "")
    (project.path / "mill.py").write_text(f'{head}inputs=["tenure", "MonthlyCharges"],{tail}')
    folder_of(project.path / "models" / "ready", linear((0.001, 0.002), -0.1, sigmoid=True))
    project.run(DAY, backfill=True)
    made = train(*project.open(), "churn")
    assert made.card.origin["licence"] == "CC0-1.0"
    shutil.rmtree(project.path / "models")
    assert reproduce(unloaded(project), made.release.name, here=True).outcome == "bitwise"


def test_a_rule_may_use_none() -> None:
    with pytest.raises(RuleRefused, match="uses the pre-trained model shared"):
        custom_rule(ruled)
    assert shipped_function(ruled, "features", "feature").pretrained == {"shared": shared}


shared = pretrained("models/shared")


def ruled(candidates):  # type: ignore[no-untyped-def]
    return shared(candidates["price"])
