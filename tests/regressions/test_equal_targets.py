"""A slice whose targets are all equal: its prior loses nothing, and the assessment is still written and read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tabular_rows import made

from tidemill.core.records.assessment import Assessment
from tidemill.training.tabular.train import train_tabular


def test_a_slice_of_equal_counts_is_assessed(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    shop = rng.choice(["closed", "north", "south"], 400)
    visits = np.where(shop == "closed", 1, rng.poisson(3, 400)).astype(float)
    columns = {"shop": pa.array(shop.tolist()), "size": rng.normal(size=400)}
    (tmp_path / "bundle").mkdir()
    result = train_tabular(
        made(columns, visits, "count"), {"n_estimators": 5, "num_leaves": 4}, model="m", folder=tmp_path / "bundle",
        curve=False,
    )  # fmt: skip
    assert result.assessment is not None
    read = msgspec.json.decode(msgspec.json.encode(result.assessment), type=Assessment)
    closed = next(one for one in read.slices if one.users == "closed")
    north = next(one for one in read.slices if one.users == "north")
    assert "skill" not in closed.model and "skill" in north.model and "calibration" in closed.model
