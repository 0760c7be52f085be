"""scikit-learn's estimators and pipelines, and others with its interface, published as one ONNX graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tidemill.core.errors import NotPublishable, SettingRefused
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import OnnxGraphMember
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.deterministic_fit import deterministic, fit_deterministically
from tidemill.training.tabular.publish.estimator_frame import frame_of, texts_of, without_rare_texts
from tidemill.training.tabular.publish.onnx_conversion import conversions
from tidemill.training.tabular.publish.onnx_model import graph_model
from tidemill.training.tabular.publish.onnx_nodes import MISSING_TEXT, OnnxNodes
from tidemill.training.tabular.publish.parity import DOUBLE, FLOAT32, golden_rows
from tidemill.training.tabular.publish.publish_estimator import (
    FittedEstimator,
    PublishableForm,
    answers_of,
    margins_of,
    recipe_of,
    target_of,
)

#: File of the published model, and names of a custom class's export method.
FILE = "model.onnx"
_HOOKS = ("export_onnx", "to_onnx")


def fitted(estimator: Any, examples: Examples, seed: int) -> FittedEstimator:
    """Fit `estimator` on a DataFrame of the inputs, and list its publishable forms."""
    known = texts_of(examples.inputs, examples.fields)
    frame, texts = frame_of(without_rare_texts(examples.inputs, known), examples.fields), list(known)
    try:
        fit_deterministically(estimator, frame, target_of(examples), seed)
    except ValueError as problem:
        if "contains NaN" in str(problem):
            raise _missing_refused(estimator, examples, known, seed) from None
        if not texts or "could not convert string" not in str(problem):
            raise
        raise SettingRefused(  # the message leaves out the value that the original error quotes
            f"{type(estimator).__name__} accepts only numbers, but {', '.join(texts)} are texts",
            tip="put ColumnTransformer([('texts', OneHotEncoder(handle_unknown='ignore'), [...])], …) before it",
        ) from None
    return _published_forms(estimator, examples, known, lambda inputs: without_rare_texts(inputs, known))


def _missing_refused(
    estimator: Any, examples: Examples, known: Mapping[str, Sequence[str]], seed: int
) -> SettingRefused:
    """The error that names the inputs whose missing values the estimator refuses: those that it refuses once it is
    fitted on rows without any, or if that fails, all that have some.
    """
    inputs = examples.inputs
    gaps = {name: inputs.column(name).null_count for name in inputs.column_names if inputs.column(name).null_count}
    refused: Sequence[str] = ()
    with suppress(Exception):  # libraries may raise anything, and this fit only serves the message
        for name in gaps:
            column = inputs.column(name)
            filled = column.fill_null(column.drop_null()[0])
            inputs = inputs.set_column(inputs.column_names.index(name), name, filled)
        complete = replace(examples, inputs=inputs)
        fit_deterministically(
            estimator, frame_of(without_rare_texts(inputs, known), examples.fields), target_of(examples), seed
        )
        refused = golden_rows(_published_forms(estimator, complete, known, lambda rows: rows).ask, complete).needs
    named = [name for name in gaps if name in refused] or list(gaps)
    counts = ", ".join(f"{name} ({gaps[name]:,} of {len(examples):,} rows)" for name in named)
    return SettingRefused(
        f"{type(estimator).__name__} refuses missing values, but some are missing in {counts}",
        tip=f"put SimpleImputer() for {', '.join(named)} before it, or use a LightGBM estimator or tm.auto(), "
        "which accept missing values",
    )


def as_it_is(estimator: Any, examples: Examples) -> FittedEstimator:
    """An estimator that was fitted elsewhere; `examples` have its inputs, its task and the known texts."""
    known = texts_of(examples.inputs, examples.fields, fewest=1)
    return _published_forms(estimator, examples, known, lambda inputs: inputs)


def _published_forms(
    estimator: Any, examples: Examples, known: Mapping[str, Sequence[str]], read: Callable[[Any], Any]
) -> FittedEstimator:
    def ask(inputs: Any) -> Any:
        with deterministic(0):
            return answers_of(estimator, frame_of(read(inputs), examples.fields), examples)

    return FittedEstimator(ask, _forms(estimator, examples, known))


def _forms(estimator: Any, examples: Examples, known: Mapping[str, Sequence[str]]) -> Iterator[PublishableForm]:
    hook = next((one for one in _HOOKS if callable(getattr(estimator, one, None))), "")
    if hook:
        yield PublishableForm(hook, partial(_own, estimator, hook, examples), FLOAT32)
        return
    for name, make in conversions(estimator, examples.fields, known, margins_of(examples)):
        for tolerance in (DOUBLE, FLOAT32):  # skl2onnx converts parts in float32
            yield PublishableForm(name, partial(_written, make, examples), tolerance)


def _written(make: Callable[[], bytes], examples: Examples) -> TabularModel:
    member = OnnxGraphMember(
        name="estimator", file=FILE, output=OnnxNodes(examples.fields).answer, missing_text=MISSING_TEXT
    )
    return TabularModel(recipe_of(examples, member, made_with=_made_with()), {FILE: make()})


def _own(estimator: Any, hook: str, examples: Examples) -> TabularModel:
    """The class's own export: a graph whose inputs are named like the model's, or that reads one matrix."""
    with tempfile.TemporaryDirectory(prefix="tidemill-graph-") as place:
        target = Path(place)
        found = getattr(estimator, hook)(target if hook == "export_onnx" else target / FILE)
        file = Path(found) if isinstance(found, str | Path) else target / FILE
        if not file.is_file():
            raise NotPublishable(f"{type(estimator).__name__}.{hook} wrote no file {file.name}")
        raw = file.read_bytes()
    return graph_model(raw, examples.fields, examples.task, examples.classes)


def _made_with() -> dict[str, str]:
    found = {"scikit-learn": "sklearn", "skl2onnx": "skl2onnx", "onnx": "onnx"}
    return {name: metadata.version(name) for name, module in found.items() if util.find_spec(module)}
