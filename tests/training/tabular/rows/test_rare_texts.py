"""A text of a few rows may be a person's name: no model keeps it, in training and serving it counts as unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tabular_rows import made

from tidemill.core.records.quality import FEWEST_USERS
from tidemill.models.tabular import write_tabular
from tidemill.models.tabular.examples import Examples
from tidemill.training.tabular.automl.auto_plan import AutoPlan
from tidemill.training.tabular.automl.baselines import NaivePlan
from tidemill.training.tabular.automl.member_settings import Curves, Leafwise, Symmetric
from tidemill.training.tabular.estimator_plan import EstimatorPlan
from tidemill.training.tabular.rows.golden_rows import golden_of

pytest.importorskip("lightgbm")
pytest.importorskip("catboost")

RARE = ("Zoe Quartermaine", "Yolanda Xu")
N = 600


def rows(levels: int) -> Examples:
    """Two texts of so many levels; the last rows have names of one row and of nine rows."""
    rng = np.random.default_rng(0)
    where, other = (
        np.array([f"{kind} {one}" for one in rng.integers(0, levels, N)], object) for kind in ("place", "spot")
    )
    where[-1], where[-10:-1] = RARE
    other[-1], other[-10:-1] = RARE
    x = rng.normal(size=N)
    target = (x + np.isin(where, ["place 0", *RARE]) * 3 > 0) * 1.0
    return made({"x": x, "where": pa.array(where), "other": pa.array(other)}, target, "binary")


def _members(levels: int) -> dict[str, Any]:
    settings = (Curves(name="c", ridge=1.0), Leafwise(name="l", rounds=(20,)), Symmetric(name="s", rounds=(20,)))
    return {
        f"{one.name} {levels}": AutoPlan(task="binary", measure="log_loss", members=(one,), weights=(1.0,), bias=(0.0,))
        for one in settings
    }


def _pipeline(encoder: Any) -> Any:
    compose, pipeline = pytest.importorskip("sklearn.compose"), pytest.importorskip("sklearn.pipeline")
    linear = pytest.importorskip("sklearn.linear_model").LogisticRegression()
    texts = compose.ColumnTransformer([("texts", encoder, ["where", "other"])], remainder="passthrough")
    return pipeline.Pipeline([("columns", texts), ("model", linear)])


def _plans() -> dict[str, Any]:
    import catboost
    import lightgbm

    encoders = pytest.importorskip("sklearn.preprocessing")
    estimators = {
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1),
        "catboost": catboost.CatBoostClassifier(iterations=5, verbose=False),
        "one-hot": _pipeline(encoders.OneHotEncoder(handle_unknown="ignore")),
        "target": _pipeline(encoders.TargetEncoder(cv=5)),
    }
    return _members(12) | {name: EstimatorPlan(one) for name, one in estimators.items()}


@pytest.mark.parametrize("name", [*_members(12), "lightgbm", "catboost", "one-hot", "target"])
@pytest.mark.parametrize("levels", [12, 40])
def test_no_file_of_a_model_has_a_rare_text_and_it_counts_as_unseen(name: str, levels: int, tmp_path: Path) -> None:
    examples = rows(levels)
    model = _plans()[name].fit(examples)
    write_tabular(model, tmp_path / "m", golden_of(model, examples))
    for file in (tmp_path / "m").iterdir():
        content = file.read_bytes()
        assert not any(secret.encode() in content for secret in RARE), file.name
        if file.name == "tabular.json":
            kept = [text for text in set(examples.inputs["where"].to_pylist()) if f'"{text}"'.encode() in content]
            counts = {text: examples.inputs["where"].to_pylist().count(text) for text in kept}
            assert all(n >= FEWEST_USERS for n in counts.values()), counts
    if levels > 12 and model.recipe.encoders:
        assert "place 0" in str(model.recipe)
    answers = [model.predict_row([0.3, text, "spot 1"])[0] for text in (*RARE, "never seen before")]
    assert answers[0] == answers[1] == answers[2]


def test_a_baseline_by_text_keeps_no_rare_text() -> None:
    model = NaivePlan(task="number", measure="mae", by="where").fit(rows(12))
    assert not any(secret in str(model.recipe) for secret in RARE)
    assert "place 1" in str(model.recipe)
