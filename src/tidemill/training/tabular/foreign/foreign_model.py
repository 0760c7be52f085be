"""Import of an externally trained model: its inputs, outputs and evaluation, ready for a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tidemill.core.errors import ImportRefused, LearnError
from tidemill.core.record_format import Record
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.core.records.signature import InputField, Signature, Task, outputs_of
from tidemill.models.tabular.design_matrix import inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.assess.assess import TestSetting, assess
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.foreign.mlflow_model import ABOUT, MlflowFolder, mlflow_folder, model_text
from tidemill.training.tabular.publish.imported_trees import lightgbm_fields, lightgbm_task, lightgbm_text_model
from tidemill.training.tabular.publish.lightgbm_estimator import line_of
from tidemill.training.tabular.publish.onnx_model import OnnxGraph, graph_model, read_graph
from tidemill.training.tabular.publish.publish_estimator import fit_pair
from tidemill.training.tabular.rows.given_rows import class_numbers, fields_of_rows

#: Maximum number of given rows stored in the bundle with their predictions.
MOST_ROWS = 1000
_PROTOCOL = "the rows that came with the model"
_UNSURE = "it is unknown whether the model was trained on these rows"


class ImportDescription(Record, frozen=True):
    """The task of an imported model according to its card; missing fields are derived."""

    task: Task | None = None
    target: str = ""
    #: In the order of the probabilities.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportSource:
    """The model's file: `kind` is `onnx`, `lightgbm` or the flavor of an MLflow folder."""

    kind: str
    file: Path
    mlflow: MlflowFolder | None = None

    @property
    def sha256(self) -> str:
        """The sha256 of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class ImportedModel:
    """An imported model with its signature, golden rows and assessment."""

    model: TabularModel
    signature: Signature
    golden: tuple[pa.Table, np.typing.NDArray[np.float64]] | None
    assessment: Assessment | None
    n_rows: int
    notes: tuple[str, ...] = ()


def find_source(source: str) -> ImportSource:
    """The file and kind of `source`: an ONNX file, a folder with `model.onnx`, LightGBM text, an MLflow folder or URI.

    Raises `ImportRefused` for anything else.
    """
    path = Path(source)
    if path.is_dir() and not (path / ABOUT).is_file() and (path / "model.onnx").is_file():
        path = path / "model.onnx"
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(5)
        if path.suffix == ".onnx":
            return ImportSource("onnx", path)
        if start == b"tree\n":
            return ImportSource("lightgbm", path)
        raise ImportRefused(
            f"{path} is neither an ONNX model nor a LightGBM text model", tip="export it as one of the two"
        )
    found = mlflow_folder(source)
    text = found.flavor == "lightgbm" and not found.is_pickle
    kind = found.flavor if text or found.flavor == "onnx" else f"mlflow {found.flavor}"
    return ImportSource(kind, found.file, found)


def import_tabular(
    source: ImportSource, about: ImportDescription, rows: pa.Table | None, *, trust_pickle: bool = False
) -> ImportedModel:
    """The model at `source`, evaluated on the given `rows` (inputs, and the target if present).

    Raises `ImportRefused` if neither the file nor the rows define its inputs and outputs, `NotPublishable` if it
    cannot be converted to a form that can be served.
    """
    fields, about = _question(source, about, rows)
    examples = _examples(fields, about, rows)
    model = _model(source, examples, trust_pickle)
    assert about.task is not None
    signature = Signature(
        task=about.task, target=about.target, request=fields, inputs=fields, outputs=outputs_of(about.task),
        classes=about.classes,
    )  # fmt: skip
    if not len(examples):
        return ImportedModel(model, signature, None, None, 0, ("no rows were given, so it was not evaluated",))
    kept = examples.inputs.slice(0, MOST_ROWS)
    assessment, notes = _assessed(model, examples, has_target=about.target in (rows or kept).column_names)
    return ImportedModel(model, signature, (kept, model.answer(kept)), assessment, len(examples), notes)


def _model(source: ImportSource, examples: Examples, trust_pickle: bool) -> TabularModel:
    if source.kind == "onnx":
        return graph_model(source.file.read_bytes(), examples.fields, examples.task, examples.classes)
    if source.kind == "lightgbm":
        return fit_pair(partial(lightgbm_text_model, model_text(source.file)), examples)
    if source.mlflow is None:
        raise ImportRefused(f"a {source.kind} is imported from MLflow's folder")
    if source.mlflow.is_pickle and not len(examples):
        raise ImportRefused("importing a pickle needs rows to check it on", tip="pass some: --golden rows.csv")
    return fit_pair(partial(source.mlflow.model, trust_pickle=trust_pickle), examples)


# ---- inputs and outputs


def _question(
    source: ImportSource, about: ImportDescription, rows: pa.Table | None
) -> tuple[tuple[InputField, ...], ImportDescription]:
    """The input fields and the complete description."""
    if source.kind == "onnx":
        graph = read_graph(source.file.read_bytes())
        width = graph.output.width or 1
        task: Task | None = "classes" if width > 2 else "binary" if width == 2 or _is_probability(graph) else "number"
        fields = graph.fields() or _named_columns(rows, about, graph.inputs[0].width)
    elif source.kind == "lightgbm":
        text = model_text(source.file)
        fields = lightgbm_fields(text)  # checks the whole text first
        width, task = _whole(line_of(text, "num_class", "1")), lightgbm_task(text)
    else:
        width, task, fields = len(about.classes), None, _named_columns(rows, about, None)
    task = about.task or task
    if task is None:
        raise ImportRefused(
            f"the task of a {source.kind} model is not in its file",
            tip='add "task": "binary", "classes", "number" or "count" to the card',
        )
    return fields, ImportDescription(task=task, target=about.target, classes=_classes(task, about.classes, width))


def _whole(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10):
        raise ImportRefused("the trees do not state their number of classes")
    return int(text)


def _is_probability(graph: OnnxGraph) -> bool:
    return "probab" in graph.output.name.lower()


def _classes(task: Task, said: tuple[str, ...], width: int) -> tuple[str, ...]:
    if task not in ("binary", "classes"):
        return ()
    k = 2 if task == "binary" else width
    classes = said or tuple(str(number) for number in range(k))
    if task == "binary" and len(classes) != 2:
        raise ImportRefused(f"a binary model has two classes, but the card names {len(classes)}")
    if task == "classes" and width and len(classes) != width:
        raise ImportRefused(f"the model has {width} classes, but the card names {len(classes)}")
    return classes


def _named_columns(rows: pa.Table | None, about: ImportDescription, width: int | None) -> tuple[InputField, ...]:
    """The columns of the given rows without the target: the inputs of a matrix or a pickle."""
    if rows is None:
        raise ImportRefused(
            "the model does not name its inputs, so rows with column names are needed",
            tip="pass --golden rows.csv, with a header",
        )
    fields = tuple(field for field in fields_of_rows(rows) if field.name != about.target)
    if width is not None and width != len(fields):
        raise ImportRefused(
            f"the model reads {width} numbers, but the rows have {len(fields)} columns besides the target",
            tip='name the target in the card, "target": "…", and give the inputs in their order',
        )
    return fields


# ---- the rows


def _examples(fields: tuple[InputField, ...], about: ImportDescription, rows: pa.Table | None) -> Examples:
    task = about.task or "number"
    if rows is None:
        empty = inputs_of(pa.table({field.name: pa.nulls(0) for field in fields}), fields)
        return Examples(fields, pa.table(dict(empty)), np.zeros(0), task, about.classes)
    inputs = pa.table(dict(inputs_of(rows, fields)))
    target = np.zeros(len(rows))
    if about.target in rows.column_names:
        column = rows.column(about.target)
        target = (
            class_numbers(column, about.classes) if about.classes else np.asarray(column.cast(pa.float64(), safe=False))
        )
    return Examples(fields, inputs, np.asarray(target, np.float64), task, about.classes)


def _assessed(
    model: TabularModel, examples: Examples, *, has_target: bool
) -> tuple[Assessment | None, tuple[str, ...]]:
    if not has_target:
        return None, ("not evaluated: the rows do not contain the target (the card may name it)",)
    examples = examples.take(np.flatnonzero(np.isfinite(examples.target)))
    if len(examples) < FEWEST_USERS:
        return None, (f"not evaluated: {len(examples)} rows with a target are too few",)
    naive = naive_plan(examples.task)
    setting = TestSetting(protocol=_PROTOCOL, warnings=(_UNSURE,))
    try:
        return assess(model, examples, baseline=(naive.name, naive.fit(examples)), setting=setting), ()
    except LearnError as problem:
        return None, (f"not evaluated: {problem.message}",)
