"""Export of a tabular release that predicts without tidemill: its files, a short program, golden rows, an MLflow model.

It contains no pickle and does not import tidemill: `predict.py` calls `reading.py` next to it, which evaluates
`tabular.json` with NumPy and, where the members need them, LightGBM or ONNX Runtime. MLflow loads the same file as
its `loader_module`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import runpy
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import PlaceRefused, ReleaseError
from tidemill.core.kinds import Kind, arrow_type
from tidemill.core.records.release import Release
from tidemill.models.tabular import TabularModel, golden_tolerance, open_tabular, read_golden, rows_of
from tidemill.models.tabular.recipe import OnnxGraphMember, TreesMember
from tidemill.models.tabular.recipe_validation import files_of
from tidemill.release.export_readme import readme

_MOST_GOLDEN = 100
#: Integers and times are `any`: MLflow's `long` has no missing values, its `datetime` no zone.
_MLFLOW_TYPES: dict[Kind, str] = {"float": "double", "bool": "boolean", "str": "string"}


@dataclass(frozen=True)
class ExportSummary:
    """The files that were exported."""

    folder: Path
    #: Relative paths, sorted.
    files: tuple[str, ...]
    #: Required packages, in pip's format.
    requirements: tuple[str, ...]
    n_golden: int


def export_tabular(release: Release, bundle: Path, folder: Path) -> ExportSummary:
    """Write the release, whose verified bundle is in `bundle`, into the new or empty `folder`.

    `model/` has the model's files, `predict.py` predicts with `reading.py`, `golden.json` has rows and predictions for
    a check, `mlflow/` is the same model in MLflow's format. The golden rows are checked before this returns.

    Raises `PlaceRefused` where the folder is not empty, and `ReleaseError` where the predictions differ from the
    release's.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PlaceRefused(f"{folder} already exists and is not empty", tip="choose a new folder")
    model = open_tabular(bundle)
    needs = _requirements(model)
    _copy_model(model, bundle, folder / "model")
    for name in ("predict", "reading"):
        _write(folder / f"{name}.py", _program(name))
    _write(folder / "requirements.txt", "\n".join(needs) + "\n")
    _write(folder / "README.md", readme(release, model.recipe, needs))
    n_golden = _write_golden(model, bundle, folder)
    _write_mlflow(release, model, folder, needs)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return ExportSummary(folder, tuple(files), needs, n_golden)


def _program(name: str) -> str:
    return (resources.files("tidemill.release") / "exported" / f"{name}.txt").read_text("utf-8")


def _requirements(model: TabularModel) -> tuple[str, ...]:
    """The required libraries at their installed versions, with which the export is checked."""
    libraries = {"numpy"}
    for member in model.recipe.members:
        if isinstance(member, TreesMember):
            libraries.add("lightgbm")
        if isinstance(member, OnnxGraphMember):
            libraries.add("onnxruntime")
    return tuple(f"{library}=={metadata.version(library)}" for library in sorted(libraries))


def _copy_model(model: TabularModel, bundle: Path, place: Path) -> None:
    place.mkdir(parents=True)
    for name in ("tabular.json", *(name for member in model.recipe.members for name in files_of(member))):
        if (bundle / name).exists():
            shutil.copyfile(bundle / name, place / name)


def _write_golden(model: TabularModel, bundle: Path, folder: Path) -> int:
    """Write `golden.json`, check the program, and return the number of rows; without golden rows, one empty row."""
    inputs, _ = read_golden(bundle)
    inputs = inputs.slice(0, _MOST_GOLDEN) if len(inputs) else inputs
    names = [field.name for field in model.recipe.inputs]
    rows = [dict(zip(names, row, strict=True)) for row in rows_of(model.inputs, inputs)] if len(inputs) else []
    rows = rows or [dict.fromkeys(names)]
    predictions = np.asarray(model.answer(_table(model, rows)))
    tolerance = golden_tolerance(model, predictions)
    golden = {"within": tolerance, "rows": rows, "answers": predictions.tolist()}
    _write(folder / "golden.json", json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    exported = runpy.run_path(str(folder / "reading.py"), run_name="exported")["Model"](folder / "model").predict(rows)
    difference = float(np.abs(np.asarray(exported) - predictions).max())
    if not difference <= tolerance:
        raise ReleaseError(
            f"the exported program's predictions differ from the release's by up to {difference:.3g}; "
            f"the tolerance is {tolerance:.3g}"
        )
    return len(rows)


def _table(model: TabularModel, rows: list[dict[str, Any]]) -> pa.Table:
    columns = {}
    for field in model.recipe.inputs:
        plain = pa.int64() if field.kind == "time" else arrow_type(field.kind)
        columns[field.name] = pa.array([row[field.name] for row in rows], plain).cast(arrow_type(field.kind))
    return pa.table(columns)


def _write_mlflow(release: Release, model: TabularModel, folder: Path, needs: tuple[str, ...]) -> None:
    """Write `mlflow/`: the flavour `python_function` with a `loader_module`, so that nothing is unpickled.

    https://mlflow.org/docs/latest/ml/traditional-ml/tutorials/creating-custom-pyfunc/ describes its files.
    """
    place, program = folder / "mlflow", _program("reading")
    shutil.copytree(folder / "model", place / "data")
    # One process may load two exports; with equal module names, both would use the module that was loaded first.
    module = f"tidemill_reading_{hashlib.sha256(program.encode()).hexdigest()[:8]}"
    _write(place / "code" / f"{module}.py", program)
    _write(place / "requirements.txt", "\n".join(("mlflow", *needs)) + "\n")
    python = platform.python_version()
    env = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    _write(place / "python_env.yaml", json.dumps(env, indent=1) + "\n")  # JSON is YAML
    flavour = {
        "loader_module": module, "code": "code", "data": "data", "python_version": python,
        "env": {"virtualenv": "python_env.yaml"},
    }  # fmt: skip
    mlmodel = {
        "flavors": {"python_function": flavour},
        "model_uuid": release.bundle[:32],
        "utc_time_created": datetime.fromtimestamp(release.created_at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": _mlflow_signature(model),
        "metadata": {"release": release.name, "bundle": release.bundle},
    }
    _write(place / "MLmodel", json.dumps(mlmodel, indent=1) + "\n")


def _mlflow_signature(model: TabularModel) -> dict[str, Any]:
    """The signature that MLflow validates rows with; every input may be missing."""
    inputs = [
        {"type": _MLFLOW_TYPES.get(f.kind, "any"), "name": f.name, "required": False} for f in model.recipe.inputs
    ]
    shape = [-1, len(model.recipe.classes)] if model.recipe.task == "classes" else [-1]
    outputs = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": shape}}]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
