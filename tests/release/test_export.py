"""An exported model answers as the release does: as a program on its own, and through MLflow, without tidemill."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import tabular_worlds as worlds

from tidemill.core.errors import PlaceRefused, ReleaseError
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import FeatureLookup, InputField, OnDemandFeature, Signature, outputs_of
from tidemill.models.tabular import TabularModel, open_tabular, write_tabular
from tidemill.release import export_tabular

pytest.importorskip("lightgbm")


MODULE = "features/hue.py"
HUE = b"""from __future__ import annotations

import numpy as np


def hue(size):
    return {"colour": np.where(np.isnan(size), "", np.where(size > 0, "red", "blue"))}
"""


def release(model: TabularModel, bundle: str = "ab" * 32, *, hue: bool = False) -> Release:
    card = Card(
        model="price", helps="sellers", could_harm="buyers", learner="auto", parameters={}, evaluation=None, data={},
        n_rows=1200, n_users=0, n_items=0, learned_at=0, as_of=0, origin={"licence": "MIT"},
    )  # fmt: skip
    if hue:
        request, sha256 = (InputField(name="id"), *worlds.FIELDS[:3], worlds.FIELDS[5]), hashlib.sha256(HUE).hexdigest()
        computed = (OnDemandFeature(function="hue", module=MODULE, takes=("size",), gives=(worlds.FIELDS[3],)),)
        lookups = (FeatureLookup(view="towns", entity="id", columns={"town": "name"}),)
    else:
        request, sha256, computed, lookups = worlds.FIELDS, "", (), ()
    signature = Signature(
        task=model.recipe.task, target="y", request=request, inputs=worlds.FIELDS,
        outputs=outputs_of(model.recipe.task), classes=model.recipe.classes, lookups=lookups, computed=computed,
    )  # fmt: skip
    return Release(
        model="price", number=2, bundle=bundle, rules=RuleSet(retrieve=()), facts={}, data={}, code="", commit=None,
        rule_modules={MODULE: sha256} if hue else {}, environment="", card=card, created_at=1_700_000_000_000_000,
        signature=signature,
    )  # fmt: skip


def model(task: str, graph: bool = False) -> TabularModel:
    k = 3 if task == "classes" else 1
    trees, text = worlds.boosted(k=k)
    even, arrays = worlds.oblivious(k=k)
    members: tuple[Any, ...] = (worlds.additive(k=k), trees, even)
    parts = {**text, **arrays}
    if graph:
        one, raw = worlds.summed()
        members, parts = (*members, one), {**parts, **raw}
    cut = {"low": -1.0, "high": 4.0} if task == "number" else {}
    return TabularModel(worlds.recipe(members, task, **cut), parts)


def exported(tmp_path: Path, made: TabularModel, golden: bool = True, hue: bool = False) -> Path:
    table = worlds.table(worlds.rows(30))
    write_tabular(made, tmp_path / "bundle", (table, made.answer(table)) if golden else None)
    if hue:
        (tmp_path / "modules" / MODULE).parent.mkdir(parents=True)
        (tmp_path / "modules" / MODULE).write_bytes(HUE)
    export_tabular(release(made, hue=hue), tmp_path / "bundle", tmp_path / "modules" if hue else None, tmp_path / "out")
    return tmp_path / "out"


def as_dicts(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip([field.name for field in worlds.FIELDS], row, strict=True)) for row in rows]


def answers_of(folder: Path, rows: list[dict[str, Any]]) -> Any:
    """What `reading.py` answers, run as the file that it is."""
    return runpy.run_path(str(folder / "reading.py"), run_name="exported")["Model"](folder / "model").answer(rows)


def ask(python: str, folder: Path, *given: str) -> str:
    done = subprocess.run([python, str(folder / "predict.py"), *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_the_program_answers_as_the_release(tmp_path: Path, task: str) -> None:
    made = model(task)
    folder = exported(tmp_path, made)
    rows = worlds.rows(50, 9)
    found = answers_of(folder, as_dicts(rows))
    np.testing.assert_allclose(found, made.answer(worlds.table(rows)), rtol=1e-9, atol=1e-9)


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    made = TabularModel(worlds.recipe((worlds.additive(),)), {})
    folder = exported(tmp_path, made)
    assert "golden rows: 30, largest difference" in ask(sys.executable, folder, "--check")
    rows = worlds.rows(5, 9)
    (tmp_path / "rows.json").write_text(json.dumps(as_dicts(rows)))
    found = json.loads(ask(sys.executable, folder, str(tmp_path / "rows.json")))
    answers = made.answer(worlds.table(rows))
    assert found["classes"] == ["yes"]
    assert [one["label"] for one in found["predictions"]] == [("no", "yes")[int(value >= 0.5)] for value in answers]
    np.testing.assert_allclose([one["probability"] for one in found["predictions"]], answers, rtol=1e-9)
    golden = json.loads((folder / "golden.json").read_text())
    golden["answers"][0] += 0.001
    (folder / "golden.json").write_text(json.dumps(golden))
    done = subprocess.run([sys.executable, str(folder / "predict.py"), "--check"], capture_output=True, check=False)
    assert done.returncode == 1


def test_nothing_in_it_is_a_pickle_or_imports_tidemill(tmp_path: Path) -> None:
    folder = exported(tmp_path, model("binary"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    code = [name for name in files if name.startswith("mlflow/code/")]
    assert len(code) == 1
    assert {
        "predict.py",
        "reading.py",
        "README.md",
        "golden.json",
        "requirements.txt",
        "model/tabular.json",
        "mlflow/MLmodel",
    } < files
    assert {Path(name).suffix for name in files} == {".py", ".md", ".json", ".txt", ".npy", ".yaml", ""}
    written = [*(folder / "predict.py").read_text().splitlines(), *(folder / "reading.py").read_text().splitlines()]
    assert not any("tidemill" in line for line in written if "import" in line)
    assert len((folder / "predict.py").read_text().splitlines()) < 45
    assert (folder / "requirements.txt").read_text().split("==")[0] == "lightgbm"


def test_times_are_taken_as_iso_text_too(tmp_path: Path) -> None:
    made = model("number")
    folder = exported(tmp_path, made)
    one, same, other = answers_of(folder, [{"sold": "2024-07-01T18:30:00Z"}, {"sold": 1719858600000000}, {}])
    assert one == same
    assert one != other


def test_the_readme_says_what_has_to_be_brought(tmp_path: Path) -> None:
    text = (exported(tmp_path, model("binary"), hue=True) / "README.md").read_text()
    assert "| `town` | str |  | required, may be null; tidemill looks it up: `name` of `towns` by `id` |" in text
    assert "- `colour`: computed by `hue` in `model/features/hue.py` from `size`. Do not give them." in text
    assert "- `id`: accepted, and not used." in text
    assert "| `size` | float |  | optional |" in text and "| `colour` |" not in text
    assert "`probability`, of `yes`, and `label`: at 0.5 and above it is `yes`" in text
    assert "Could harm: buyers" in text
    assert "Licence: MIT" in text


def test_without_golden_rows_a_row_of_nothing_is_checked(tmp_path: Path) -> None:
    folder = exported(tmp_path, model("binary"), golden=False)
    golden = json.loads((folder / "golden.json").read_text())
    assert golden["rows"] == [dict.fromkeys(field.name for field in worlds.FIELDS)]
    np.testing.assert_allclose(golden["answers"], answers_of(folder, [{}]))


def test_a_graph_travels_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made = model("binary", graph=True)
    folder = exported(tmp_path, made)
    assert "golden rows: 30, largest difference" in ask(sys.executable, folder, "--check")
    assert "onnxruntime==" in (folder / "requirements.txt").read_text()


def test_the_pretrained_model_of_a_function_travels_with_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source = b"""from __future__ import annotations

import numpy as np


def hue(size):
    total = SUM(np.column_stack([np.nan_to_num(size)] * 3))[:, 0]
    return {"colour": np.where(total > 0.6, "red", "blue")}
"""
    made, raw = model("binary"), worlds.graph(3)
    bundle, modules = tmp_path / "bundle", tmp_path / "modules"
    write_tabular(made, bundle)
    graph = bundle / "pretrained" / "SUM"
    graph.mkdir(parents=True)
    (graph / "model.onnx").write_bytes(raw)
    origin = dict.fromkeys(("source", "licence", "revision", "card"), "x") | {"sha256": hashlib.sha256(raw).hexdigest()}
    (graph / "card.json").write_text(json.dumps(origin))
    (modules / MODULE).parent.mkdir(parents=True)
    (modules / MODULE).write_bytes(source)
    plain = release(made, hue=True)
    assert plain.signature is not None
    computed = tuple(msgspec.structs.replace(one, pretrained=("SUM",)) for one in plain.signature.computed)
    signature = msgspec.structs.replace(plain.signature, computed=computed)
    pinned = msgspec.structs.replace(
        plain, signature=signature, rule_modules={MODULE: hashlib.sha256(source).hexdigest()}
    )
    export_tabular(pinned, bundle, modules, tmp_path / "out")
    assert "onnxruntime==" in (tmp_path / "out" / "requirements.txt").read_text()
    rows = [{"size": size, "town": "x"} for size in (0.1, 0.3, None)]
    colours = ["blue", "red", "blue"]
    expected = made.answer(
        worlds.table([[row["size"], None, None, c, "x", None] for row, c in zip(rows, colours, strict=True)])
    )
    np.testing.assert_allclose(answers_of(tmp_path / "out", rows), expected, rtol=1e-9)


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    with pytest.raises(PlaceRefused, match="already exists and is not empty"):
        export_tabular(release(model("binary")), tmp_path, None, tmp_path / "full")


def test_a_program_that_answers_otherwise_is_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("binary")
    monkeypatch.setattr("tidemill.models.tabular.row_model.RowModel.tolerance", -1.0)
    write_tabular(made, tmp_path / "bundle")
    with pytest.raises(ReleaseError, match="predictions differ from the release's by up to"):
        export_tabular(release(made), tmp_path / "bundle", None, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "classes"])
def test_mlflow_loads_it_where_tidemill_cannot_be_imported(tmp_path: Path, task: str) -> None:
    pytest.importorskip("mlflow")
    made = model(task)
    folder = exported(tmp_path, made)
    rows = worlds.rows(40, 11)
    table = worlds.table(rows)
    frame = tmp_path / "rows.arrow"
    with pa.OSFile(str(frame), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    script = tmp_path / "ask.py"
    script.write_text(
        "import sys, json, builtins\n"
        "real = builtins.__import__\n"
        "def without(name, *given, **more):\n"
        "    if name.split('.')[0] == 'tidemill':\n"
        "        raise ImportError(name)\n"
        "    return real(name, *given, **more)\n"
        "builtins.__import__ = without\n"
        "import mlflow, pyarrow as pa\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "frame = pa.ipc.open_file(sys.argv[2]).read_all().to_pandas()\n"
        "found = model.predict(frame).iloc[:, 0].tolist()\n"
        "print(json.dumps([found, model.metadata.signature.inputs.input_names()]))\n"
        "assert 'tidemill' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "mlflow"), str(frame)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers, names = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(answers, made.answer(table), rtol=1e-9, atol=1e-9)
    assert names == [field.name for field in worlds.FIELDS]


@pytest.mark.slow
def test_it_answers_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Only what `requirements.txt` names, and nothing of this environment's packages."""
    folder = exported(tmp_path, model("number"))
    env = tmp_path / "env"
    made = subprocess.run([sys.executable, "-m", "venv", str(env)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no virtual environment can be made here: {made.stderr[-200:]}")
    python = str(env / "bin" / "python")
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", "-r", str(folder / "requirements.txt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"no index to install from: {installed.stderr[-200:]}")
    assert subprocess.run([python, "-c", "import tidemill"], capture_output=True, check=False).returncode != 0
    assert "golden rows: 30, largest difference" in ask(python, folder, "--check")


def test_the_bundle_is_what_was_written(tmp_path: Path) -> None:
    made = model("binary")
    folder = exported(tmp_path, made)
    table = worlds.table(worlds.rows(5))
    assert (open_tabular(folder / "model").answer(table) == made.answer(table)).all()
