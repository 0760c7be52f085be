"""CatBoost's estimators over numbers and one-hot texts, published as arrays of symmetric trees.

CatBoost's own encoding of categories cannot be exported, so texts become one-hot columns here.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from tidemill.core.errors import NotPublishable
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.automl.catboost_member import FittedCatboost, _described
from tidemill.training.tabular.publish.publish_estimator import (
    FittedEstimator,
    PublishableForm,
    answers_of,
    margins_of,
    one_hot,
    recipe_of,
    target_of,
)

_LINKS = {"Logloss": "sigmoid", "CrossEntropy": "sigmoid", "MultiClass": "softmax", "Poisson": "exp", "Tweedie": "exp"}
_PLAIN = {"RMSE", "MAE", "Quantile", "Huber", "MAPE", "Expectile", "LogCosh", "Lq"}


def fitted(estimator: Any, examples: Examples, seed: int) -> FittedEstimator:
    """Fit a `CatBoostClassifier` or `CatBoostRegressor` on float32 columns: numbers, and one-hot common texts."""
    encoders = one_hot(examples)
    given = estimator.get_params()
    usual = {"thread_count": 1, "allow_writing_files": False}
    if not {"random_seed", "random_state"} & set(given):
        usual["random_seed"] = seed
    if not {"verbose", "silent", "logging_level", "verbose_eval"} & set(given):
        usual["verbose"] = False
    estimator.set_params(**usual)

    def frame(inputs: Any) -> Any:
        columns = inputs_of(inputs, examples.fields)
        return design_of(columns, encoders, len(inputs)).astype(np.float32)

    estimator.fit(frame(examples.inputs), target_of(examples))
    form = PublishableForm("arrays", lambda: arrays_model(estimator, examples, encoders))
    return FittedEstimator(lambda inputs: answers_of(estimator, frame(inputs), examples), [form])


def arrays_model(estimator: Any, examples: Examples, encoders: Any) -> TabularModel:
    """The published model of fitted symmetric trees over these columns."""
    import catboost  # noqa: PLC0415 - an optional library

    described = _described(estimator)
    if "oblivious_trees" not in described:
        raise NotPublishable("only CatBoost models with grow_policy='SymmetricTree' can be published")
    k = margins_of(examples)
    member, parts = FittedCatboost(estimator, estimator.tree_count_, k, False).written(
        "catboost", tuple(range(len(encoders)))
    )
    high = any(
        one.get("nan_value_treatment") == "AsTrue" for one in described["features_info"].get("float_features", ())
    )
    member = msgspec.structs.replace(member, missing="high" if high else "low")
    made_with = {"catboost": catboost.__version__}
    recipe = recipe_of(examples, member, encoders=encoders, link=_link(estimator), made_with=made_with)
    return TabularModel(recipe, parts)


def _link(estimator: Any) -> str:
    loss = str(estimator.get_all_params()["loss_function"]).partition(":")[0]
    if loss in _LINKS:
        return _LINKS[loss]
    if loss in _PLAIN:
        return "identity"
    raise NotPublishable(f"CatBoost's loss {loss!r} is not supported", tip="use Logloss, MultiClass or RMSE")
