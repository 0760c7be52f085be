"""What a kind of estimator leaves after fitting: how it answers itself, and the forms in which it may be published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import NotPublishable, TooLittleData
from tidemill.core.signature import Field
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.model import TabularModel
from tidemill.models.tabular.recipe import Code, Encoder, Is, Member, Number, Recipe
from tidemill.training.tabular.estimator_frame import texts_of
from tidemill.training.tabular.parity import DOUBLE, Ask

F64 = NDArray[np.float64]
#: Texts of an input that get a column of their own; the rest share one.
MOST_TEXTS = 64


@dataclass(frozen=True)
class Form:
    """One way to publish: what it is called, what makes it, and how far it may lie from the fitted object."""

    name: str
    make: Callable[[], TabularModel]
    tolerance: float = DOUBLE


@dataclass(frozen=True)
class Fitted:
    """A fitted object: how it answers, and its forms, the most exact first."""

    ask: Ask
    forms: Iterable[Form]


def target_of(examples: Examples) -> NDArray[Any]:
    """What `fit` is given: class numbers int64 (n), or values float64 (n)."""
    return examples.target.astype(np.int64) if examples.task in ("binary", "classes") else examples.target


def answers_of(fitted: Any, frame: Any, examples: Examples) -> F64:
    """What a fitted object says: the positive class's probability (n), probabilities (n, k), or values (n).

    Raises `NotPublishable` where a classifier gives no probabilities, `TooLittleData` where it saw too few classes.
    """
    if examples.task in ("number", "count"):
        return np.asarray(fitted.predict(frame), np.float64).reshape(len(frame))
    if not hasattr(fitted, "predict_proba"):
        raise NotPublishable(
            f"{type(fitted).__name__} gives no probabilities", tip="wrap it: CalibratedClassifierCV(estimator)"
        )
    found = np.asarray(fitted.predict_proba(frame), np.float64)
    if examples.task == "binary" and found.ndim == 1:
        return found
    if found.shape[1] != max(len(examples.classes), 2):
        raise TooLittleData(f"{found.shape[1]} of {len(examples.classes)} classes occur in the rows that were learned")
    return found[:, 1] if examples.task == "binary" else found


def margins_of(examples: Examples) -> int:
    """How many margins a row has."""
    return len(examples.classes) if examples.task == "classes" else 1


def coded(examples: Examples) -> tuple[Encoder, ...]:
    """Numbers as they are, texts as the number of their place among the sorted texts."""
    texts = texts_of(examples.inputs, examples.fields)
    return tuple(
        Code(input=field.name, codes={text: code for code, text in enumerate(texts[field.name])})
        if field.kind == "str"
        else Number(input=field.name)
        for field in examples.fields
    )


def one_hot(examples: Examples) -> tuple[Encoder, ...]:
    """Numbers as they are, and a column for each of the `MOST_TEXTS` commonest texts, and one for all others."""
    encoders: list[Encoder] = []
    for field in examples.fields:
        if field.kind != "str":
            encoders.append(Number(input=field.name))
            continue
        known = _commonest(examples, field)
        encoders += [Is(input=field.name, value=text) for text in known]
        encoders.append(Is(input=field.name, value=None, known=tuple(known)))
    return tuple(encoders)


def _commonest(examples: Examples, field: Field) -> list[str]:
    counts = {one["values"]: one["counts"] for one in examples.inputs.column(field.name).value_counts().to_pylist()}
    counts.pop(None, None)
    return sorted(sorted(counts, key=lambda text: (-counts[text], text))[:MOST_TEXTS])


def recipe_of(
    examples: Examples, member: Member, *, encoders: Sequence[Encoder] = (), link: Any = "none",
    made_with: dict[str, str] | None = None, target: str = "",
) -> Recipe:  # fmt: skip
    """A recipe of one member with weight one."""
    return Recipe(
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
