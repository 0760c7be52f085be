"""An MLflow pyfunc model as `learn=`: neither the model nor MLflow is loaded before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Pyfunc:
    """An MLflow model by its URI or its folder."""

    #: Accepted in place of an estimator, although it has no `fit`.
    learned_elsewhere: ClassVar[bool] = True

    source: str
    #: Whether a pickle in it may be loaded; it can run any code, so use it only for trusted sources.
    trust_pickle: bool = False


def pyfunc(source: str, *, trust_pickle: bool = False) -> Pyfunc:
    """The MLflow model at `source` (`models:/churn/3`, `runs:/…`, or a folder) for `learn=`: nothing is fitted.

    Models of the flavors ONNX, LightGBM, CatBoost and XGBoost are used unchanged. A scikit-learn model is a pickle; it
    is read only with `trust_pickle`, in a separate process without network access, and converted to ONNX.
    A model that is only a Python function is refused, because it exists only as a pickle.

    >>> pyfunc("models:/churn/3").source
    'models:/churn/3'
    """
    return Pyfunc(str(source), trust_pickle)
