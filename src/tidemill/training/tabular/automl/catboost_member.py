"""CatBoost's symmetric trees as a member: trained on encoded columns, so they can be exported as plain arrays.

L. Prokhorenkova et al. 2018, "CatBoost: unbiased boosting with categorical features". One thread and a fixed seed give
the same bits. CatBoost's own encoding of categories is not used: its tables cannot be exported.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BackendMissing
from tidemill.core.records.signature import Task
from tidemill.models.tabular.recipe import Member, ObliviousTreesMember
from tidemill.training.tabular.automl.member_settings import Parts, Symmetric
from tidemill.training.tabular.rows.row_losses import Measure

F64 = NDArray[np.float64]
#: Rounds without improvement before early stopping, and maximum number of rounds.
PATIENCE, MOST_ROUNDS = 40, 2_000
_LOSSES: dict[Task, str] = {"binary": "Logloss", "classes": "MultiClass", "number": "RMSE", "count": "Poisson"}


@dataclass(frozen=True)
class FittedCatboost:
    """A CatBoost model of `rounds` trees."""

    model: Any
    rounds: int
    n_classes: int
    root: bool

    def margins(self, design: F64) -> F64:
        """float64 (n, k)."""
        raw = self.model.predict(design.astype(np.float32), prediction_type="RawFormulaVal", thread_count=1)
        found: F64 = np.asarray(raw, np.float64).reshape(len(design), self.n_classes)
        return found

    def written(self, name: str, columns: tuple[int, ...]) -> tuple[Member, Parts]:
        """Splits, borders, leaves and their rows as arrays."""
        described = _described(self.model)
        splits, borders, leaves, counts = _arrays(described, self.n_classes)
        scale, bias = described["scale_and_bias"]
        member = ObliviousTreesMember(
            name=name,
            then="square" if self.root else "",
            columns=columns,
            bias=tuple(np.broadcast_to(np.asarray(bias, np.float64), self.n_classes).tolist()),
            scale=float(scale),
        )
        arrays = {"splits": splits, "borders": borders, "leaves": leaves, "counts": counts}
        return member, {f"{name}.{what}.npy": array for what, array in arrays.items()}


def fit_catboost(
    design: F64,
    target: F64,
    settings: Symmetric,
    *,
    task: Task,
    measure: Measure,
    n_classes: int,
    seed: int,
    held: tuple[F64, F64] | None = None,
    rounds: int | None = None,
) -> FittedCatboost:
    """Trees of `rounds` rounds, or of the best number of rounds on the `held` rows (design, target)."""
    catboost = _catboost()
    pool = catboost.Pool(design.astype(np.float32), target, thread_count=1)
    against = None if held is None else catboost.Pool(held[0].astype(np.float32), held[1], thread_count=1)
    model = catboost.CatBoost(_parameters(settings, task, measure, n_classes, seed, rounds))
    if against is None:
        model.fit(pool)
    else:
        model.fit(pool, eval_set=against, early_stopping_rounds=PATIENCE, use_best_model=True)
    return FittedCatboost(model, int(model.tree_count_), n_classes if task == "classes" else 1, settings.root)


def _parameters(
    settings: Symmetric, task: Task, measure: Measure, n_classes: int, seed: int, rounds: int | None
) -> dict[str, Any]:
    return (
        {
            "loss_function": _LOSSES[task],
            "iterations": rounds or MOST_ROUNDS,
            "learning_rate": settings.rate,
            "depth": settings.depth,
            "l2_leaf_reg": settings.l2,
            "random_seed": seed,
            "thread_count": 1,
            "boosting_type": "Plain",
            "nan_mode": "Min",
            "allow_writing_files": False,
            "verbose": False,
        }
        | ({"eval_metric": "MAE"} if task == "number" and measure == "mae" else {})
        | ({"classes_count": n_classes} if task == "classes" else {})
    )


def _described(model: Any) -> dict[str, Any]:
    """CatBoost's JSON of a model."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        found: dict[str, Any] = msgspec.json.decode(file.read_bytes())
        return found


def _arrays(described: dict[str, Any], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32], F64, F64]:
    """Splits, borders (t, d), leaves (t, 2^d, k), their rows (t, 2^d); short trees are padded."""
    trees = described["oblivious_trees"]
    flat = {one["feature_index"]: one["flat_feature_index"] for one in described["features_info"]["float_features"]}
    depth = max((len(tree["splits"] or ()) for tree in trees), default=1) or 1
    splits = np.zeros((len(trees), depth), np.int32)
    borders = np.full((len(trees), depth), np.inf, np.float32)
    leaves = np.zeros((len(trees), 2**depth, k))
    counts = np.zeros((len(trees), 2**depth))
    for at, tree in enumerate(trees):
        for level, split in enumerate(tree["splits"] or ()):
            splits[at, level] = flat[split["float_feature_index"]]
            borders[at, level] = split["border"]
        values = np.asarray(tree["leaf_values"], np.float64).reshape(-1, k)
        leaves[at, : len(values)] = values
        counts[at, : len(values)] = tree["leaf_weights"]
    return splits, borders, leaves, counts


def _catboost() -> Any:
    try:
        import catboost  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing("CatBoost is not installed", tip="pip install 'tidemill[learn]'") from problem
    return catboost
