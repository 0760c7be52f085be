"""Export of a tabular release that predicts without tidemill: its files, a short program, golden rows, an MLflow model.

It contains no pickle and does not import tidemill: `predict.py` calls `reading.py` next to it, which evaluates
`tabular.json` with NumPy and, where the members need them, LightGBM or ONNX Runtime. MLflow loads the same file as
its `loader_module`. The on-demand functions of the release are computed from their pinned source, as on the server.
"""

from __future__ import annotations

import hashlib
import json
import platform
import runpy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.core.errors import AnswerFailed, PlaceRefused, ReleaseError
from tidemill.core.kinds import KINDS, Kind, arrow_type
from tidemill.core.records.release import Release
from tidemill.models.tabular import TabularModel, golden_tolerance, open_tabular, read_golden, rows_of
from tidemill.models.tabular.input_ranges import RANGES
from tidemill.models.tabular.on_demand_arrays import PRETRAINED
from tidemill.models.tabular.on_demand_function import OnDemandFunction, kinds_of
from tidemill.models.tabular.recipe import OnnxGraphMember, TreesMember
from tidemill.models.tabular.recipe_validation import files_of
from tidemill.release.export_readme import readme
from tidemill.release.export_request import ExportRequest, request_of
from tidemill.release.live_deployment import module_sources

_MOST_GOLDEN = 100
#: Time of golden rows without one: 2026-01-31, 12:00 UTC.
_GOLDEN_TIME = 1_769_860_800_000_000
#: The others are `any`: MLflow's `long` and `boolean` have no missing values, its `datetime` no zone.
_MLFLOW_TYPES: dict[Kind, str] = {"float": "double", "str": "string"}


@dataclass(frozen=True)
class ExportSummary:
    """The files that were exported."""

    folder: Path
    #: Relative paths, sorted.
    files: tuple[str, ...]
    #: Required packages, in pip's format.
    requirements: tuple[str, ...]
    n_golden: int


def export_tabular(release: Release, bundle: Path, modules: Path | None, folder: Path) -> ExportSummary:
    """Write the release into the new or empty `folder`; its bundle and the folder of its modules are verified.

    `model/` has the model's files, its functions, and `request.json` with the columns that it takes; `predict.py`
    predicts with `reading.py`, `golden.json` has rows and predictions for a check, `mlflow/` is the same model in
    MLflow's format. The golden rows are checked before this returns.

    Raises `PlaceRefused` where the folder is not empty, and `ReleaseError` where the predictions differ from the
    release's, or where a function takes a person's identifier, which only the project's key turns into a surrogate.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PlaceRefused(f"{folder} already exists and is not empty", tip="choose a new folder")
    model = open_tabular(bundle)
    request, sources = request_of(release), module_sources(release, modules)
    needs = _requirements(model, request)
    _copy_model(model, bundle, folder / "model", request, sources)
    for name in ("predict", "reading"):
        _write(folder / f"{name}.py", _program(name))
    _write(folder / "requirements.txt", "\n".join(needs) + "\n")
    _write(folder / "README.md", readme(release, model.recipe, request, needs))
    n_golden = _write_golden(release, model, bundle, sources, folder)
    _write_mlflow(release, model, request, folder, needs)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return ExportSummary(folder, tuple(files), needs, n_golden)


def _program(name: str) -> str:
    return (resources.files("tidemill.release") / "exported" / f"{name}.txt").read_text("utf-8")


def _requirements(model: TabularModel, request: ExportRequest) -> tuple[str, ...]:
    """The required libraries at their installed versions, with which the export is checked."""
    libraries = {"numpy", *(["onnxruntime"] if any(one.pretrained for one in request.functions) else [])}
    for member in model.recipe.members:
        if isinstance(member, TreesMember):
            libraries.add("lightgbm")
        if isinstance(member, OnnxGraphMember):
            libraries.add("onnxruntime")
    return tuple(f"{library}=={metadata.version(library)}" for library in sorted(libraries))


def _copy_model(
    model: TabularModel, bundle: Path, place: Path, request: ExportRequest, sources: Mapping[str, bytes]
) -> None:
    place.mkdir(parents=True)
    for name in ("tabular.json", RANGES, *(name for member in model.recipe.members for name in files_of(member))):
        if (bundle / name).exists():
            shutil.copyfile(bundle / name, place / name)
    for function in request.functions:
        (place / function.file).parent.mkdir(exist_ok=True)
        (place / function.file).write_bytes(sources[function.file])
        for name in function.pretrained:
            shutil.copytree(bundle / PRETRAINED / name, place / PRETRAINED / name, dirs_exist_ok=True)
    _write(place / "request.json", msgspec.json.format(msgspec.json.encode(request)).decode() + "\n")


def _write_golden(
    release: Release, model: TabularModel, bundle: Path, sources: Mapping[str, bytes], folder: Path
) -> int:
    """Write `golden.json`, check the program, and return the number of rows; without golden rows, one plain row."""
    signature = release.signature
    assert signature is not None  # `request_of` has refused a release without one
    inputs, _ = read_golden(bundle)
    kinds, names = kinds_of(signature), [field.name for field in model.recipe.inputs]
    made = {field.name for computed in signature.computed for field in computed.gives}
    taken = {name for computed in signature.computed for name in computed.takes}
    given = [name for name in kinds if name in taken.union(names) - made]
    needed = taken.difference(names)
    needed |= {f.name for f in signature.request if not f.optional or f.role == "event_time"}
    values = rows_of(model.inputs, inputs[:_MOST_GOLDEN]) if len(inputs) else [[None] * len(names)]
    rows = [
        {name: _golden_value(row.get(name), kinds[name], needed=name in needed) for name in given}
        for row in (dict(zip(names, one, strict=True)) for one in values)
    ]
    functions = [
        OnDemandFunction(computed, kinds, sources, release.rule_modules, bundle) for computed in signature.computed
    ]
    rows = [row for row in rows if _computed(functions, [row]) is not None]
    full = _computed(functions, rows) if rows else None
    if full is None:
        raise ReleaseError(f"the on-demand functions of {release.name} fail on all golden rows")
    predictions = np.asarray(model.answer(_table(model, full)))
    tolerance = golden_tolerance(model, predictions)
    golden = {"within": tolerance, "rows": rows, "answers": predictions.tolist()}
    _write(folder / "golden.json", json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    exported = runpy.run_path(str(folder / "reading.py"), run_name="exported")["Model"](folder / "model").answer(rows)
    difference = float(np.abs(np.asarray(exported) - predictions).max())
    if not difference <= tolerance:
        raise ReleaseError(
            f"the exported program's predictions differ from the release's by up to {difference:.3g}; "
            f"the tolerance is {tolerance:.3g}"
        )
    return len(rows)


def _golden_value(value: Any, kind: Kind, *, needed: bool) -> Any:
    """The value, or one of its kind where it is needed and missing."""
    if value is not None or not needed:
        return value
    return _GOLDEN_TIME if kind == "time" else KINDS[kind].stored()


def _computed(functions: Sequence[OnDemandFunction], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The rows with what the functions compute of them; `None` where one of them fails, as the server would."""
    found = [dict(row) for row in rows]
    try:
        for function in functions:
            function(found)
    except AnswerFailed:
        return None
    return found


def _table(model: TabularModel, rows: list[dict[str, Any]]) -> pa.Table:
    columns = {}
    for field in model.recipe.inputs:
        plain = pa.int64() if field.kind == "time" else arrow_type(field.kind)
        columns[field.name] = pa.array([row[field.name] for row in rows], plain).cast(arrow_type(field.kind))
    return pa.table(columns)


def _write_mlflow(
    release: Release, model: TabularModel, request: ExportRequest, folder: Path, needs: tuple[str, ...]
) -> None:
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
        "signature": _mlflow_signature(model, request),
        "metadata": {"release": release.name, "bundle": release.bundle, "classes": request.classes},
    }
    _write(place / "MLmodel", json.dumps(mlmodel, indent=1) + "\n")


def _mlflow_signature(model: TabularModel, request: ExportRequest) -> dict[str, Any]:
    """The signature by which MLflow refuses rows without a required column; a value may be missing."""
    inputs = [
        {"type": _MLFLOW_TYPES.get(one.kind, "any"), "name": one.name, "required": one.required}
        for one in request.columns
    ]
    number, label = {"type": "double"}, {"type": "string", "name": "label", "required": True}
    outputs: list[dict[str, Any]] = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]
    if model.recipe.task == "binary":
        outputs = [number | {"name": "probability", "required": True}, label]
    if model.recipe.task == "classes":
        outputs = [{"type": "array", "items": number, "name": "probabilities", "required": True}, label]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
