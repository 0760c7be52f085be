"""XGBoost's estimators over numbers and one-hot texts, published as one node of an ONNX graph in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidemill.core.errors import NotPublishable
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.recipe import Encoder
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.publish.fitted_trees import fitted_trees
from tidemill.training.tabular.publish.imported_trees import xgboost_graph
from tidemill.training.tabular.publish.parity import FLOAT32
from tidemill.training.tabular.publish.publish_estimator import (
    FittedEstimator,
    PublishableForm,
    answers_of,
    one_hot,
    target_of,
)


def fitted(estimator: Any, examples: Examples, seed: int) -> FittedEstimator:
    """Fit an `XGBClassifier` or `XGBRegressor` on columns: numbers, and one-hot common texts.

    XGBoost sums in float32, so predictions may differ by 1e-5.
    """
    encoders = one_hot(examples)

    def frame(inputs: Any) -> Any:
        return design_of(inputs_of(inputs, examples.fields), encoders, len(inputs))

    estimator.fit(frame(examples.inputs), target_of(examples))
    form = PublishableForm("trees", lambda: _written(estimator, examples, encoders), FLOAT32)
    return FittedEstimator(lambda inputs: answers_of(estimator, frame(inputs), examples), [form])


def _written(estimator: Any, examples: Examples, encoders: Sequence[Encoder]) -> TabularModel:
    summed = fitted_trees(estimator)
    if summed is None:
        raise NotPublishable(f"{type(estimator).__name__} is not a tree model")
    return xgboost_graph(summed, encoders, examples)
