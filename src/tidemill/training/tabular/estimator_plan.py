"""An estimator (any object with `fit` and `predict`) as a plan: fitted, then published as trees or ONNX."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module, metadata
from inspect import signature
from typing import Any

import msgspec

from tidemill.core.errors import TypeMismatch
from tidemill.models.formats.pretrained import PretrainedGraph
from tidemill.models.tabular.examples import Examples
from tidemill.models.tabular.learn_plan import LearnPlan
from tidemill.models.tabular.pyfunc import Pyfunc
from tidemill.models.tabular.row_model import RowModel
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training.tabular.foreign.pretrained_plan import PretrainedPlan, PyfuncPlan
from tidemill.training.tabular.publish.publish_estimator import (
    EstimatorModel,
    FittedEstimator,
    as_pair,
    fit_pair,
    published,
)
from tidemill.training.tabular.publish.spark_xgboost import fitted as fit_on_spark
from tidemill.training.tabular.publish.spark_xgboost import is_spark_estimator, parameters_of

#: Library of a class -> the module that fits and publishes it; all other classes need scikit-learn's
#: interface, or an ONNX export of their own.
_KINDS = {"lightgbm": "lightgbm_estimator", "catboost": "catboost_estimator", "xgboost": "xgboost_estimator"}
_LIBRARIES = {"sklearn": "scikit-learn"}
_SEEDS = ("random_state", "random_seed", "seed")


def estimator_plan(estimator: Any) -> LearnPlan:
    """A plan that fits `estimator`: scikit-learn's, LightGBM's, CatBoost's, XGBoost's, or a custom one.

    It receives a pandas DataFrame of the inputs (see `frame_of`) and a target: class numbers as int64, or float64. A
    dictionary means LightGBM with these parameters. Raises `TypeMismatch` for objects without `fit` and `predict`.

    >>> estimator_plan({"num_leaves": 7}).name
    'lightgbm'
    """
    if isinstance(estimator, Mapping):
        return LightgbmPlan(dict(estimator))
    if isinstance(estimator, PretrainedGraph):
        return PretrainedPlan(estimator)
    if isinstance(estimator, Pyfunc):
        return PyfuncPlan(estimator)
    if is_spark_estimator(estimator):
        return SparkXgboostPlan(estimator)
    # scikit-learn's searches and pipelines have `predict` only after fitting
    able = hasattr(estimator, "fit") and (hasattr(estimator, "predict") or hasattr(estimator, "get_params"))
    if isinstance(estimator, type) or not able:
        shown = f"the class {estimator.__name__}" if isinstance(estimator, type) else repr(estimator)[:80]
        raise TypeMismatch(
            f"learn={shown} has no callable fit and predict methods", tip="pass an object, for example Ridge()"
        )
    return EstimatorPlan(estimator)


@dataclass(frozen=True)
class EstimatorPlan:
    """Fits copies of `estimator`, which itself is never modified."""

    estimator: Any = field(repr=False)

    @property
    def name(self) -> str:
        """The class; for a pipeline the class of its last step."""
        last = self.estimator
        while getattr(last, "steps", None):
            last = last.steps[-1][1]
        return type(last).__name__

    def settings(self) -> dict[str, Any]:
        """Class path, parameters as plain values, and the versions of the libraries."""
        return {
            "class": _path(type(self.estimator)),
            "parameters": _plain(self.estimator),
            "versions": versions(self.estimator),
        }

    def unseeded(self) -> EstimatorPlan:
        """The same estimator without the seeds that are set in it."""
        fresh = _unfitted(self.estimator)
        known = fresh.get_params() if hasattr(fresh, "set_params") else {}
        seeds = {name: None for name in known if name.rpartition("__")[2] in _SEEDS}
        return EstimatorPlan(fresh.set_params(**seeds) if seeds else fresh)

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The published model. Raises `NotPublishable` or `ParityFailed`, and the estimator's own errors."""
        return fit_pair(lambda rows: published(self._fitted(rows, seed), rows, self.name), examples)

    def fit_to_measure(self, examples: Examples, *, seed: int = 0) -> RowModel:
        """The fitted estimator itself. Raises its own errors."""
        rows = as_pair(examples)
        return EstimatorModel(self._fitted(rows, seed), rows, examples.task, self.name)

    def _fitted(self, examples: Examples, seed: int) -> FittedEstimator:
        fresh = seeded(self.estimator, seed)
        kind = import_module(f"{__package__}.publish.{_KINDS.get(_library(type(fresh)), 'sklearn_estimator')}")
        found: FittedEstimator = kind.fitted(fresh, examples, seed)
        return found


class SparkXgboostPlan(EstimatorPlan):
    """Fits an estimator of `xgboost.spark` with the same parameters, in the Spark session of the engine."""

    def settings(self) -> dict[str, Any]:
        """Class path, the given parameters, and the versions of the libraries."""
        versions = {name: metadata.version(name) for name in ("pyspark",)} | {
            "xgboost": import_module("xgboost").__version__
        }
        parameters = {"class": _path(type(self.estimator)), **_plain(parameters_of(self.estimator))}
        return {"class": _path(type(self.estimator)), "parameters": parameters, "versions": versions}

    def unseeded(self) -> EstimatorPlan:
        parameters = {name: one for name, one in parameters_of(self.estimator).items() if name not in _SEEDS}
        return SparkXgboostPlan(type(self.estimator)(**parameters))

    def _fitted(self, examples: Examples, seed: int) -> FittedEstimator:
        parameters = {"random_state": seed, **parameters_of(self.estimator)}
        return fit_on_spark(type(self.estimator), parameters, examples)


@dataclass(frozen=True)
class LightgbmPlan:
    """LightGBM with these parameters; the task chooses the objective if none is given."""

    parameters: dict[str, Any]
    name: str = "lightgbm"

    def settings(self) -> dict[str, Any]:
        """The parameters, and the library's version."""
        return {"parameters": dict(self.parameters), "versions": {"lightgbm": metadata.version("lightgbm")}}

    def unseeded(self) -> LightgbmPlan:
        """The same parameters without a seed."""
        return LightgbmPlan({name: value for name, value in self.parameters.items() if name not in _SEEDS})

    def fit(self, examples: Examples, *, seed: int = 0) -> TabularModel:
        """The published model."""
        return self._estimator(examples).fit(examples, seed=seed)

    def fit_to_measure(self, examples: Examples, *, seed: int = 0) -> RowModel:
        """The fitted estimator itself."""
        return self._estimator(examples).fit_to_measure(examples, seed=seed)

    def _estimator(self, examples: Examples) -> EstimatorPlan:
        import lightgbm  # noqa: PLC0415 - an optional library

        kind = lightgbm.LGBMClassifier if examples.task in ("binary", "classes") else lightgbm.LGBMRegressor
        usual: dict[str, Any] = {"verbosity": -1}
        if examples.task == "count":
            usual["objective"] = "poisson"
        return EstimatorPlan(kind(**usual | self.parameters))


def estimator_from(parameters: Mapping[str, Any]) -> EstimatorPlan:
    """The plan with the `parameters` of `EstimatorPlan.settings`; only classes of known libraries are imported.

    Raises `TypeError`, `ValueError`, `ImportError` or `AttributeError` if they do not make the estimator.
    """
    made = _made(dict(parameters))
    return SparkXgboostPlan(made) if is_spark_estimator(made) else EstimatorPlan(made)


def _made(value: Any) -> Any:
    """What `_plain` has turned into plain values."""
    if isinstance(value, list):
        parts = [_made(one) for one in value]
        return tuple(parts) if parts and isinstance(parts[0], str) else parts  # a step: its name, then the estimator
    if not isinstance(value, dict) or "class" not in value:
        return value
    module, _, name = str(value["class"]).rpartition(".")
    if module.partition(".")[0] not in (*_KINDS, "sklearn"):
        raise ValueError(f"{value['class']} is not a class of a known library")
    kind = getattr(import_module(module), name)
    usual = {one.name: _plain(one.default) for one in signature(kind).parameters.values()}
    # a default need not be plain: NaN, for example, is None here
    return kind(**{key: _made(one) for key, one in value.items() if key != "class" and usual.get(key, ...) != one})


def seeded(estimator: Any, seed: int) -> Any:
    """An unfitted copy with one thread, and with `seed` if no seed is set."""
    fresh = _unfitted(estimator)
    if not hasattr(fresh, "set_params"):
        return fresh
    change: dict[str, Any] = {}
    known = fresh.get_params()
    for name, value in known.items():
        place, _, last = name.rpartition("__")
        owner = known.get(place, fresh)
        if last in _SEEDS and value is None:
            change[name] = seed
        elif last in ("n_jobs", "thread_count") and (value is not None or _library(type(owner)) in _KINDS):
            change[name] = 1
    return fresh.set_params(**change) if change else fresh


def _unfitted(estimator: Any) -> Any:
    if hasattr(estimator, "get_params") and _library(type(estimator)) != "catboost":
        try:
            from sklearn.base import clone  # noqa: PLC0415 - an optional library

            return clone(estimator)
        except (ImportError, TypeError, RuntimeError):  # scikit-learn cannot clone it
            pass
    return copy.deepcopy(estimator)


def versions(estimator: Any) -> dict[str, str]:
    """The versions of the libraries that an estimator and its parts come from, if they are distributions."""
    parts = [estimator, *(estimator.get_params().values() if hasattr(estimator, "get_params") else ())]
    roots = {_library(type(part)) for part in parts if hasattr(part, "fit") or hasattr(part, "transform")}
    found = {}
    for root in sorted(roots):
        name = _LIBRARIES.get(root, root)
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _library(kind: type) -> str:
    """The library of a class, or of a class that it extends."""
    roots = [one.__module__.partition(".")[0] for one in kind.__mro__]
    return next((root for root in roots if root in (*_KINDS, "sklearn")), roots[0])


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _plain(value: Any) -> Any:
    """Parameters as plain values, so that they can be compared and stored: classes by path, functions by name."""
    if isinstance(value, type):
        return _path(value)
    if hasattr(value, "get_params"):
        return {
            "class": _path(type(value)),
            **{name: _plain(one) for name, one in value.get_params(deep=False).items()},
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_plain(one) for one in value]
        return sorted(parts, key=str) if isinstance(value, set | frozenset) else parts
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except TypeError:
        return value.tolist() if hasattr(value, "tolist") else _attributes(value)


def _attributes(value: Any) -> Any:
    if not hasattr(value, "__dict__"):
        return str(value)
    return {"class": _path(type(value)), **{name: _plain(one) for name, one in sorted(vars(value).items())}}
