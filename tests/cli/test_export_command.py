"""`tidemill export`: a release of the project becomes a folder that answers on its own."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from tidemill.cli.commands.init_command import write_project
from tidemill.cli.main import cli
from tidemill.core import settings
from tidemill.core.clock import SystemClock
from tidemill.core.errors import NoSuchRelease, PlaceRefused
from tidemill.core.records.release import Card, RuleSet
from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores
from tidemill.models.tabular import TabularModel, write_tabular
from tidemill.models.tabular.recipe import AdditiveTerm, AdditiveTerms, NumberColumn, TabularRecipe

SIZE = InputField(name="size", kind="float")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the release `price@1`: twice the size, between 0 and 10."""
    folder = tmp_path / "corner"
    write_project(folder, "shop")
    (folder / "tidemill.toml").write_text(f'[laptop]\nkeys = "{tmp_path / "keys"}"\nsearch = "exact"\n')
    curve = AdditiveTerm(column=0, knots=(0.0, 10.0), values=((0.0,), (20.0,)), missing=(7.0,))
    recipe = TabularRecipe(
        task="number", target="price", inputs=(SIZE,), encoders=(NumberColumn(input="size"),),
        members=(AdditiveTerms(name="curve", terms=(curve,), bias=(0.0,)),),
        weights=(1.0,), bias=(0.0,), link="identity",
    )  # fmt: skip
    model = TabularModel(recipe, {})
    rows = pa.table({"size": [1.0, None]})
    write_tabular(model, tmp_path / "bundle", (rows, model.answer(rows)))
    card = Card(
        model="price", helps="Sellers.", could_harm="Buyers.", learner="curves", parameters={}, evaluation=None,
        data={}, n_rows=2, n_users=0, n_items=0, learned_at=1, as_of=1,
    )  # fmt: skip
    signature = Signature(task="number", target="price", request=(SIZE,), inputs=(SIZE,), outputs=outputs_of("number"))
    stores = open_stores(folder, settings.load(folder), SystemClock(), name=load_mill(folder).name)
    made = stores.releases.create("price", tmp_path / "bundle", RuleSet(retrieve=()), card, signature=signature)
    assert made.name == "price@1"
    return folder


def test_a_release_becomes_a_folder_that_answers(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["export", "price@1", str(out), "--json", "--project", str(project)])
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert about["release"] == "price@1"
    assert {"predict.py", "reading.py", "mlflow/MLmodel", "model/tabular.json"} < set(about["files"])
    assert [one.split("==")[0] for one in about["requirements"]] == ["numpy"]
    model = runpy.run_path(str(out / "reading.py"))["Model"](out / "model")
    assert model.predict([{"size": 2.5}, {"size": 99}, {}]) == [5.0, 20.0, 7.0]
    again = CliRunner().invoke(cli, ["export", "price@1", str(out), "--project", str(project)])
    assert isinstance(again.exception, PlaceRefused)


def test_a_release_that_is_not_there_is_named(project: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", "price@9", str(tmp_path / "out"), "--project", str(project)])
    assert isinstance(done.exception, NoSuchRelease)
