"""One peer's as-of join of labels and three views, in a process of its own: `python point_in_time_peer.py PEER FOLDER`.

Prints one line of JSON: CPU seconds to start and of the join itself, how many rows came back, the version.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VIEWS = ("one", "two", "three")


def by_polars(folder: Path) -> tuple[Callable[[], int], str]:
    import polars as pl

    labels = pl.read_parquet(folder / "labels.parquet")
    views = {name: pl.read_parquet(folder / f"{name}.parquet") for name in VIEWS}

    def join() -> int:
        made = labels.sort("at")
        for name, rows in views.items():
            asked = rows.select("user", *(pl.col(c).alias(f"{name}_{c}") for c in ("x", "n", "s")), at="_at")
            made = made.join_asof(asked.sort("at"), on="at", by="user", check_sortedness=False)
        return made.height

    return join, pl.__version__


def by_duckdb(folder: Path) -> tuple[Callable[[], int], str]:
    import duckdb

    db = duckdb.connect()
    for name in ("labels", *VIEWS):
        db.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{folder / name}.parquet')")
    columns = ", ".join(f"{name}.{c} AS {name}_{c}" for name in VIEWS for c in ("x", "n", "s"))
    joins = " ".join(f'ASOF LEFT JOIN {v} ON labels."user" = {v}."user" AND labels."at" >= {v}._at' for v in VIEWS)

    def join() -> int:
        return int(db.sql(f"SELECT labels.*, {columns} FROM labels {joins}").to_arrow_table().num_rows)

    return join, duckdb.__version__


def by_feast(folder: Path) -> tuple[Callable[[], int], str]:
    import warnings
    from datetime import timedelta

    warnings.simplefilter("ignore")
    import feast
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, Int64, String

    store = FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    views = []
    for name in VIEWS:
        source = FileSource(
            name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event", created_timestamp_column="created"
        )
        fields = [Field(name="x", dtype=Float64), Field(name="n", dtype=Int64), Field(name="s", dtype=String)]
        ttl = timedelta(days=30 if name == "two" else 0)
        views.append(FeatureView(name=name, entities=[user], schema=fields, source=source, ttl=ttl, online=False))
    store.apply([user, *views])
    labels = pd.read_parquet(folder / "labels.parquet", columns=["user", "event", "id"])
    labels = labels.rename(columns={"event": "event_timestamp"})
    asked = [f"{name}:{c}" for name in VIEWS for c in ("x", "n", "s")]

    def join() -> int:
        made: Any = store.get_historical_features(entity_df=labels, features=asked, full_feature_names=True).to_arrow()
        return int(made.num_rows)

    return join, feast.__version__


def main() -> None:
    peer, folder, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    join, version = {"polars": by_polars, "duckdb": by_duckdb, "feast": by_feast}[peer](folder)
    start_s = time.process_time()
    costs, rows = [], 0
    for _ in range(repeats):
        before = time.process_time()
        rows = join()
        costs.append(time.process_time() - before)
    print(json.dumps({"start_s": start_s, "cpu_s": min(costs), "rows": rows, "version": version}))


if __name__ == "__main__":
    main()
