"""LightGBM's estimators: texts are native categories, and the model is published in LightGBM's text format."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable
from typing import Any

from tidemill.models.formats.lightgbm_text_check import checked_text
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import TreesMember
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.estimator_frame import frame_of, texts_of
from tidemill.training.tabular.publish.fitted_trees import lightgbm_link
from tidemill.training.tabular.publish.publish_estimator import (
    FittedEstimator,
    PublishableForm,
    answers_of,
    coded,
    recipe_of,
    target_of,
)

FILE = "trees.txt"
_REFUSED = re.compile(r'[\s",:\[\]{}\\]')


def fitted(estimator: Any, examples: Examples, seed: int) -> FittedEstimator:
    """Fit a `LGBMClassifier` or `LGBMRegressor` on a DataFrame whose texts are pandas categories."""
    categories = texts_of(examples.inputs, examples.fields)
    names = lightgbm_names(field.name for field in examples.fields)

    def frame(inputs: Any) -> Any:
        return frame_of(inputs, examples.fields, categories).set_axis(names, axis=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # LightGBM warns about aliases of its own parameters
        estimator.fit(frame(examples.inputs), target_of(examples))
    form = PublishableForm("text", lambda: _written(estimator, examples))
    return FittedEstimator(lambda inputs: answers_of(estimator, frame(inputs), examples), [form])


def lightgbm_names(names: Iterable[str]) -> list[str]:
    """Names that LightGBM accepts: it refuses JSON's characters, and reads a blank as `_`; inputs are found by place.

    >>> lightgbm_names(["a b", "a_b", "a:b", "c"])
    ['a_b', 'a_b_', 'a_b__', 'c']
    """
    found: list[str] = []
    for name in names:
        safe = _REFUSED.sub("_", name)
        while safe in found:
            safe += "_"
        found.append(safe)
    return found


def _written(estimator: Any, examples: Examples) -> TabularModel:
    import lightgbm  # noqa: PLC0415 - an optional library

    text = estimator.booster_.model_to_string()
    link = lightgbm_link(objective_of(text)) or "identity"
    member = TreesMember(name="lightgbm", file=FILE, columns=tuple(range(len(examples.fields))))
    made_with = {"lightgbm": lightgbm.__version__}
    recipe = recipe_of(examples, member, encoders=coded(examples), link=link, made_with=made_with)
    return TabularModel(recipe, {FILE: checked_text(text.encode()).encode()})


def objective_of(text: str) -> str:
    """The objective in a LightGBM text; `custom` if it has none."""
    return line_of(text, "objective").strip() or "custom"


def line_of(text: str, key: str, otherwise: str = "") -> str:
    """The value of a line in the header of the text."""
    head = text.split("\n\nTree=")[0]
    return next((line.partition("=")[2] for line in head.split("\n") if line.startswith(f"{key}=")), otherwise)


def categories_of(text: str) -> list[list[Any]]:
    """The categories that LightGBM stored for a DataFrame's category columns, in their order; empty if none."""
    last = [line for line in text.split("\n") if line.startswith("pandas_categorical:")]
    found = json.loads(last[-1].partition(":")[2]) if last else None
    return [list(one) for one in found] if found else []
