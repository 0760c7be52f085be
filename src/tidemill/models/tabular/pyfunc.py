"""An MLflow pyfunc model, named for `learn=`: neither the model nor MLflow is loaded before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Pyfunc:
    """An MLflow model by its URI or its folder."""

    #: It can be used in place of an estimator, though it has no `fit`.
    learned_elsewhere: ClassVar[bool] = True

    source: str
    #: Whether a pickle in it may be loaded; it can run any code, so only for models of a trusted source.
    trust_pickle: bool = False


def pyfunc(source: str, *, trust_pickle: bool = False) -> Pyfunc:
    """The MLflow model at `source` (`models:/churn/3`, `runs:/…`, or a folder) for `learn=`: nothing is fitted.

    Models of the flavors ONNX, LightGBM, CatBoost and XGBoost are taken as they are. One of scikit-learn is a pickle,
    which is read only with `trust_pickle`, in a process of its own that may open no connection, and leaves it as ONNX.
    One that is only a Python function is refused, since it has no other form than its pickle.

    >>> pyfunc("models:/churn/3").source
    'models:/churn/3'
    """
    return Pyfunc(str(source), trust_pickle)
