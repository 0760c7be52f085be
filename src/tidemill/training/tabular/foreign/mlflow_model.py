"""An MLflow model published by its flavor: ONNX and trees directly, a pickle only if it is trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tidemill.core.errors import BackendMissing, ImportRefused, NotPublishable
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.foreign.conversion_process import converted_model
from tidemill.training.tabular.publish.imported_trees import lightgbm_text_model, xgboost_model
from tidemill.training.tabular.publish.onnx_model import graph_model

ABOUT = "MLmodel"
#: Flavors by preference.
FLAVORS = ("onnx", "lightgbm", "catboost", "xgboost", "sklearn")
_PICKLES = (".pkl", ".pickle", ".joblib", ".skops", ".cloudpickle")
Maker = Callable[[Path, Examples], TabularModel]


@dataclass(frozen=True)
class MlflowFolder:
    """The folder of an MLflow model, and the file of the selected flavor."""

    folder: Path
    flavor: str
    file: Path

    @property
    def sha256(self) -> str:
        """The sha256 of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def is_pickle(self) -> bool:
        """Whether loading the file may run code."""
        return self.flavor == "sklearn" or self.file.suffix in _PICKLES

    def model(self, examples: Examples, *, trust_pickle: bool = False) -> TabularModel:
        """The model over the fields of the examples. Raises `NotPublishable`, or `ImportRefused` for a pickle."""
        if self.is_pickle:
            if not trust_pickle:
                raise ImportRefused(
                    f"{self.folder} stores its {self.flavor} model as a pickle, which runs code when it is read",
                    tip="if you trust its author: --trust-pickle, or tm.pyfunc(…, trust_pickle=True)",
                )
            return converted_model(self.file, examples, is_pickle=True)
        makers: dict[str, Maker] = {
            "onnx": lambda file, rows: graph_model(file.read_bytes(), rows.fields, rows.task, rows.classes),
            "lightgbm": lambda file, rows: lightgbm_text_model(model_text(file), rows),
            "catboost": lambda file, rows: converted_model(file, rows, is_pickle=False),
            "xgboost": xgboost_model,
        }
        return makers[self.flavor](self.file, examples)


def mlflow_folder(source: str) -> MlflowFolder:
    """The model in a folder or at an MLflow URI; a URI is fetched into a temporary folder.

    Raises `ImportRefused` if it is not an MLflow model, `NotPublishable` if it is only a Python function.
    """
    folder = Path(source) if Path(source).is_dir() else _fetched(source)
    about = folder / ABOUT
    if not about.is_file():
        raise ImportRefused(f"{folder} contains no {ABOUT} file, so it is not an MLflow model")
    flavors = flavors_of(model_text(about))
    for flavor in FLAVORS:
        if flavor in flavors:
            settings = flavors[flavor]
            file_name = (
                settings.get("data") or settings.get("pickled_model") or settings.get("model_data") or "model.onnx"
            )
            file = _inside(folder, file_name)
            return MlflowFolder(folder, flavor, file)
    raise NotPublishable(
        f"{source} is only a Python function (flavors: {', '.join(sorted(flavors)) or 'none'}), "
        "which has no other form than its pickle",
        tip="log it as onnx, lightgbm, catboost, xgboost or sklearn as well",
    )


def model_text(file: Path) -> str:
    """The text of a file. Raises `ImportRefused` if it is not UTF-8."""
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise ImportRefused(f"{file} cannot be read as text: {problem}") from problem


def _inside(folder: Path, name: str) -> Path:
    file = (folder / name.replace("\0", "/")).resolve()  # no file has a NUL in its name
    try:
        is_inside = file.is_relative_to(folder.resolve()) and file.is_file()
    except OSError:  # the name is too long
        is_inside = False
    if not is_inside:
        raise ImportRefused(f"{folder / ABOUT} names {name!r}, which is not a file in that folder")
    return file


def flavors_of(text: str) -> dict[str, dict[str, str]]:
    r"""Flavor -> its plain settings, from the two relevant levels of an `MLmodel` file.

    >>> flavors_of("flavors:\n  onnx:\n    data: model.onnx\nrun_id: x\n")
    {'onnx': {'data': 'model.onnx'}}
    """
    found: dict[str, dict[str, str]] = {}
    within, name = False, ""
    for line in text.split("\n"):
        if re.match(r"\S", line):
            within = line.startswith("flavors:")
        elif within and (flavor := re.match(r"  (\w+):\s*\Z", line)):
            name = flavor[1]
            if name in found:
                raise ImportRefused(f"{ABOUT} has the flavor {name[:40]!r} twice")
            found[name] = {}
        elif within and name and (setting := re.match(r"    (\w+): (.+?)\s*\Z", line)):
            if setting[1] in found[name] or setting[2][0] in "&*!|>{[%@`":
                raise ImportRefused(f"{ABOUT} sets {setting[1][:40]!r} of {name[:40]!r} twice, or not to a plain value")
            found[name][setting[1]] = setting[2].strip("'\"")
    return found


@cache
def _fetched(source: str) -> Path:
    if not re.match(r"[a-z0-9+-]+:/", source):
        raise ImportRefused(f"{source} is neither a folder nor an MLflow URI", tip="for example models:/churn/3")
    try:
        from mlflow import artifacts  # noqa: PLC0415 - an optional library
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing(
            f"reading {source} needs mlflow, which is not installed", tip="pip install 'tidemill[mlflow]'"
        ) from problem
    try:
        place: Any = artifacts.download_artifacts(artifact_uri=source)
    except MlflowException as problem:
        raise ImportRefused(f"MLflow cannot fetch {source}: {problem}") from problem
    return Path(place)
