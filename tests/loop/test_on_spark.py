"""The same project file on Polars and on local Spark: the same tables, row for row."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.lake import part_exchange
from tidemill.loop.examples.training_examples import build_examples
from tidemill.loop.ingest import worker_rows
from tidemill.loop.online.feature_metadata import declared_view
from tidemill.loop.online.view_rows import online_rows

pytestmark = pytest.mark.spark

BY_QUERY = '''
mill.sql("per_item", """
    WITH newest AS (
        SELECT *, row_number() OVER (PARTITION BY user_id, item_id ORDER BY reviewed_at DESC, _row DESC) AS place
        FROM reviews
    )
    SELECT newest.item_id, count(*) AS n, sum(newest._row) AS total, avg(rating) AS stars,
           max(reviewed_at) AS last_at, any_value(items.category) AS category
    FROM newest LEFT JOIN items USING (item_id)
    WHERE place = 1
    GROUP BY newest.item_id;
""", by="item_id")
'''
STARS = """
@mill.features(entity="item_id", ttl="2 days")
def last_rating(reviews):
    return reviews.select("item_id", "reviewed_at", "_known_at", "_row", last=nw.col("rating"))


mill.model(
    "stars", target="rating", examples=ratings, inputs=["item_id"], features=[taste, last_rating],
    learn=__import__("lightgbm").LGBMRegressor(), helps="Buyers.", could_harm="Sellers.",
)
"""
LAST = FIRST + timedelta(days=5)


@pytest.fixture
def both(project: Project) -> Iterator[tuple[Project, Project]]:
    if shutil.which("java") is None:
        pytest.skip("no Java: Spark was not tried")
    pytest.importorskip("pyspark", reason="no PySpark: Spark was not tried")
    rows = daily(6, users=8, items=6)
    file = project.path / "mill.py"
    file.write_text(file.read_text() + BY_QUERY + STARS)
    # one user rates one item twice in one instant: the larger `_row` wins on every engine
    project.write("reviews.csv", [*rows, ("tie", "i1", 1.0, LAST), ("tie", "i1", 5.0, LAST)])
    other = Project(project.path.with_name("on_spark"), project.clock)
    shutil.copytree(project.path, other.path)
    settings = other.path / "tidemill.toml"
    settings.write_text(settings.read_text().replace("[laptop]\n", '[laptop]\nengine = "spark"\n', 1))
    yield project, other


def content(project: Project) -> dict[str, Any]:
    stores, graph = project.open()
    view = stores.lake.view()
    tables: dict[str, Any] = {
        name: view.arrow(name).drop_columns(["user_id"] if "user_id" in view.schema(name).names else []).to_pylist()
        for name in ("reviews", "ratings", "items", "per_item")
    }
    tables = {name: sorted(rows, key=repr) for name, rows in tables.items()}
    tables["schemas"] = {name: str(view.schema(name)) for name in view.versions}
    taste = stores.engine.collect(graph.mill.features_views["taste"].function(ratings=view.scan("ratings")))
    tables["taste"] = sorted((row["n_ratings"], row["mean_rating"]) for row in taste.to_pylist())
    for name in ("taste", "last_rating"):
        rows = online_rows(stores.latest, declared_view(graph, graph.mill.features_views[name]))
        tables[f"{name} online"] = sorted(map(repr, rows.to_pylist()))
    for name in ("for_you.history", "for_you.items"):
        tables[name] = sorted(repr(stores.latest.get(name, key)) for key in stores.latest.keys(name))
    examples = build_examples(graph, view, graph.askings["stars"])
    tables["examples"] = [*zip(examples.inputs.to_pylist(), examples.target, examples.row, strict=True)]
    tables["facts"] = [stores.latest.get("facts", f"i{i}") for i in range(15)]
    return tables


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "workers"])
def test_the_shop_gives_the_same_tables_on_both_engines(
    both: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """Also where no rows of a derived table fit in memory, so that Spark's workers compare and write them. Training
    examples, with windowed aggregates and rows of views as of each of them, are equal to the bit.
    """
    on_polars, on_spark = both
    for project in both:
        project.run(LAST - timedelta(days=1), backfill=True)
        project.run(LAST)
        if not in_memory:
            monkeypatch.setattr(part_exchange, "MEMORY_ROWS", -1)
            monkeypatch.setattr(worker_rows, "WORKER_BYTES", -1)
            monkeypatch.setattr(worker_rows, "IN_PROCESS_BYTES", -1)
        monkeypatch.setattr(part_exchange, "PART_ROWS", 30)
    assert on_spark.open()[0].engine.name == "spark"
    found = content(on_spark)
    assert found == content(on_polars)
    inputs = [row for row, _, _ in found["examples"]]
    assert any(row["mean_rating"] for row in inputs)
    assert any(row["last"] for row in inputs)
    tied = [row for row in content(on_spark)["ratings"] if row["rating"] == 5.0 and row["item_id"] == "i1"]
    assert tied
