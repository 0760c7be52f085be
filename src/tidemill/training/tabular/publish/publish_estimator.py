"""Publishing of a fitted estimator: formats are tried in order; the first that passes the parity check is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import BundleCorrupt, NotPublishable, TooLittleData
from tidemill.core.records.signature import InputField, Task
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import Encoder, Member, NumberColumn, OneHot, Ordinal, TabularRecipe
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.estimator_frame import texts_of
from tidemill.training.tabular.publish.parity import DOUBLE, Ask, LargestDifference, failed, golden_rows, worst_of
from tidemill.training.tabular.rows.table_columns import frequent_texts


def published(fitted: FittedEstimator, examples: Examples, name: str) -> TabularModel:
    """The first published form that predicts like the fitted object; raises the error of the closest one if none does.

    Inputs that it needs are no longer `optional` in the recipe. Raises `NotPublishable` for an object that rejects
    unseen texts, because a server will receive some.
    """
    probe = golden_rows(fitted.ask, examples)
    if probe.knows_only:
        raise NotPublishable(
            f"{name} rejects unseen texts of {', '.join(probe.knows_only)}, and a server will receive some",
            tip="OneHotEncoder(handle_unknown='ignore'), or OrdinalEncoder(handle_unknown='use_encoded_value', …)",
        )
    worst: tuple[LargestDifference, float] | None = None
    reasons: list[str] = []
    for form in fitted.forms:
        try:
            model = form.make()
            difference = worst_of(model, probe.golden, examples.task, form.tolerance)
        except (BundleCorrupt, NotPublishable) as problem:  # ONNX Runtime may lack an operator in double
            reasons.append(problem.message)
            continue
        if difference.excess <= 1:
            return _needing(model, probe.needs)
        if worst is None or difference.excess < worst[0].excess:
            worst = difference, form.tolerance
    if worst is not None:
        raise failed(name, *worst)
    raise NotPublishable(
        f"{name} cannot be published without its pickle: {'; '.join(dict.fromkeys(reasons)) or 'no format is known'}",
        tip="use tm.auto() or a LightGBM estimator, or add a method export_onnx(folder) -> Path to the class",
    )


@dataclass(frozen=True, eq=False)
class EstimatorModel(RowModel):
    """A fitted estimator that predicts by itself, for fits which only measure: nothing is converted or compared."""

    fitted: FittedEstimator
    #: The rows that it was fitted on; of two classes as a binary task.
    examples: Examples
    task: Task
    name: str

    @property
    def inputs(self) -> tuple[InputField, ...]:  # type: ignore[override]
        """The inputs."""
        return self.examples.fields

    def answer(self, inputs: pa.Table) -> F64:
        """As of a row model. The published form predicts rows that the estimator refuses, such as unseen texts."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of texts that it does not know
                found = self.fitted.ask(inputs)
        except (ValueError, TypeError, KeyError):
            found = published(self.fitted, self.examples, self.name).answer(inputs)
        return np.column_stack((1 - found, found)) if self.task == "classes" and found.ndim == 1 else found


def fit_pair(fit: Callable[[Examples], TabularModel], examples: Examples) -> TabularModel:
    """The model that `fit` returns. If the task is `classes` with two classes, it is fitted as a binary model, because
    libraries keep one margin for two classes, and predicts the probabilities of both.
    """
    rows = as_pair(examples)
    model = fit(rows)
    if rows is examples:
        return model
    return TabularModel(msgspec.structs.replace(model.recipe, task="classes"), model.parts)


def as_pair(examples: Examples) -> Examples:
    """The rows, as a binary task if there are two `classes`."""
    return replace(examples, task="binary") if examples.task == "classes" and len(examples.classes) == 2 else examples


def _needing(model: TabularModel, names: Sequence[str]) -> TabularModel:
    """The model with these inputs required."""
    if not names:
        return model
    inputs = tuple(
        msgspec.structs.replace(field, optional=False) if field.name in names else field
        for field in model.recipe.inputs
    )
    return TabularModel(msgspec.structs.replace(model.recipe, inputs=inputs), model.parts)


F64 = NDArray[np.float64]
#: Maximum number of texts of an input with their own column; the rest share one.
MOST_TEXTS = 64


@dataclass(frozen=True)
class PublishableForm:
    """One format to publish in: its name, its conversion function, and its tolerance."""

    name: str
    make: Callable[[], TabularModel]
    tolerance: float = DOUBLE


@dataclass(frozen=True)
class FittedEstimator:
    """A fitted object: its predict function, and its publishable forms, the most exact first."""

    ask: Ask
    forms: Iterable[PublishableForm]


def target_of(examples: Examples) -> NDArray[Any]:
    """The target for `fit`: class numbers int64 (n), or values float64 (n)."""
    return examples.target.astype(np.int64) if examples.task in ("binary", "classes") else examples.target


def answers_of(fitted: Any, frame: Any, examples: Examples) -> F64:
    """Predictions of a fitted object: the positive class's probability (n), probabilities (n, k), or values (n).

    Raises `NotPublishable` if a classifier has no probabilities, `TooLittleData` if it saw too few classes.
    """
    if examples.task in ("number", "count"):
        return np.asarray(fitted.predict(frame), np.float64).reshape(len(frame))
    if not hasattr(fitted, "predict_proba"):
        raise NotPublishable(
            f"{type(fitted).__name__} has no predict_proba, so there are no probabilities",
            tip="wrap it: CalibratedClassifierCV(estimator)",
        )
    found = np.asarray(fitted.predict_proba(frame), np.float64)
    if examples.task == "binary" and found.ndim == 1:
        return found
    if found.shape[1] != max(len(examples.classes), 2):
        raise TooLittleData(f"only {found.shape[1]} of {len(examples.classes)} classes occur in the training rows")
    return found[:, 1] if examples.task == "binary" else found


def margins_of(examples: Examples) -> int:
    """Number of margins per row."""
    return len(examples.classes) if examples.task == "classes" else 1


def coded(examples: Examples) -> tuple[Encoder, ...]:
    """Encoders: numbers unchanged, texts as their index in the sorted texts."""
    texts = texts_of(examples.inputs, examples.fields)
    return tuple(
        Ordinal(input=field.name, codes={text: code for code, text in enumerate(texts[field.name])})
        if field.kind == "str"
        else NumberColumn(input=field.name)
        for field in examples.fields
    )


def one_hot(examples: Examples) -> tuple[Encoder, ...]:
    """Encoders: numbers unchanged, one column for each of the `MOST_TEXTS` most frequent texts, and one for others."""
    encoders: list[Encoder] = []
    for field in examples.fields:
        if field.kind != "str":
            encoders.append(NumberColumn(input=field.name))
            continue
        known = _commonest(examples, field)
        encoders += [OneHot(input=field.name, value=text) for text in known]
        encoders.append(OneHot(input=field.name, value=None, known=tuple(known)))
    return tuple(encoders)


def _commonest(examples: Examples, field: InputField) -> list[str]:
    return sorted(frequent_texts(examples.inputs.column(field.name))[0][:MOST_TEXTS])


def recipe_of(
    examples: Examples, member: Member, *, encoders: Sequence[Encoder] = (), link: Any = "none",
    made_with: dict[str, str] | None = None, target: str = "",
) -> TabularRecipe:  # fmt: skip
    """A recipe of one member with weight one."""
    return TabularRecipe(
        task=examples.task,
        target=target,
        inputs=examples.fields,
        classes=examples.classes,
        encoders=tuple(encoders),
        members=(member,),
        weights=(1.0,),
        bias=(0.0,) * margins_of(examples),
        link=link,
        made_with=made_with or {},
    )
