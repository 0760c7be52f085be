"""Tests of the project: the graph is valid, and tables have the expected values."""

from pathlib import Path

import narwhals as nw
import polars as pl

from mill import mill, ratings

PROJECT = Path(__file__).resolve().parent.parent


def test_the_graph_can_run() -> None:
    from tidemill.testing import check_project

    check_project(PROJECT)


def test_ratings_keep_the_latest_rating() -> None:
    rows = pl.LazyFrame(
        {"user_id": ["a", "a", "b"], "item_id": ["x", "x", "x"], "rating": [1.0, 5.0, 3.0], "reviewed_at": [1, 2, 1],
         "_row": [1, 2, 3]}
    )
    latest = ratings.function(nw.from_native(rows)).to_native().collect().sort("user_id")
    assert latest["rating"].to_list() == [5.0, 3.0]


def test_the_model_card_names_whom_it_helps_and_could_harm() -> None:
    assert mill.recommenders["for_you"].helps
    assert mill.recommenders["for_you"].could_harm
