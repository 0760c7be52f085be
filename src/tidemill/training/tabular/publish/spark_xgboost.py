"""Spark XGBoost: the estimators of `xgboost.spark`, fitted by workers of Spark and published like those of XGBoost."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import BackendMissing, NotPublishable, TooLittleData
from tidemill.models.tabular.design_matrix import design_of, inputs_of
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.publish.fitted_trees import xgboost_trees
from tidemill.training.tabular.publish.imported_trees import xgboost_graph
from tidemill.training.tabular.publish.parity import FLOAT32
from tidemill.training.tabular.publish.publish_estimator import FittedEstimator, PublishableForm, one_hot, target_of
from tidemill.training.tabular.publish.xgboost_file import xgboost_from_bytes

_LABEL = "label"
#: Parameters that name columns, which are given here.
_COLUMNS = {"features_cols", "featuresCol", "labelCol", "predictionCol", "probabilityCol", "rawPredictionCol"}


def is_spark_estimator(estimator: Any) -> bool:
    """Whether it is one of `xgboost.spark`."""
    return type(estimator).__module__.startswith("xgboost.spark")


def parameters_of(estimator: Any) -> dict[str, Any]:
    """The parameters that were given, by name."""
    found = {param.name: value for param, value in estimator._paramMap.items() if param.name not in _COLUMNS}
    further = found.pop("arbitrary_params_dict", None) or {}
    return {name: value for name, value in {**found, **further}.items() if value is not None}


def fitted(kind: type, parameters: Mapping[str, Any], examples: Examples) -> FittedEstimator:
    """Fit an estimator of `kind` on numbers and one-hot common texts, in the Spark session of the engine.

    Raises `BackendMissing` without a session: the engine is not Spark.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an optional library

    session = SparkSession.getActiveSession()
    if session is None:
        raise BackendMissing(
            f"{kind.__name__} needs a Spark session", tip='set engine = "spark" in tidemill.toml, or use XGBClassifier'
        )
    if (kind.__name__ == "SparkXGBClassifier") != (examples.task in ("binary", "classes")) or "Ranker" in kind.__name__:
        raise NotPublishable(f"{kind.__name__} does not learn the task {examples.task!r}")
    encoders = one_hot(examples)

    def matrix(inputs: Any) -> NDArray[np.float64]:
        return np.asarray(design_of(inputs_of(inputs, examples.fields), encoders, len(inputs)), np.float64)

    values = matrix(examples.inputs)
    names = [f"c{number}" for number in range(values.shape[1])]
    columns: dict[str, Any] = {name: values[:, number] for number, name in enumerate(names)}
    rows = pa.table(columns | {_LABEL: target_of(examples).astype(np.float64)})
    estimator = kind(features_col=names, label_col=_LABEL, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark warns about its own use of pandas 3
        booster = estimator.fit(session.createDataFrame(rows)).get_booster()

    def answers(inputs: Any) -> NDArray[np.float64]:
        found = np.asarray(booster.inplace_predict(matrix(inputs).astype(np.float32), missing=np.nan), np.float64)
        if examples.task == "classes" and found.shape[1:] != (len(examples.classes),):
            raise TooLittleData("not all classes occur in the training rows")
        return found

    def written() -> Any:
        trees = xgboost_trees(xgboost_from_bytes(bytes(booster.save_raw("json")), kind.__name__).learner)
        return xgboost_graph(trees, encoders, examples)

    return FittedEstimator(answers, [PublishableForm("trees", written, FLOAT32)])
