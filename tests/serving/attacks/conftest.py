"""Servers of a recommender and of tabular models, for requests of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served_model import (
    BUYER,
    CHURN,
    MODULE,
    SOURCE,
    SPECIES,
    buyer,
    churn,
    churn_signature,
    open_models,
    publish_spending,
    sized,
)
from served_shop import open_shop

from tidemill.serving import ServerHandle, start


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[ServerHandle, Path]]]:
    folder = tmp_path_factory.mktemp("fuzzed")
    shop = open_shop(folder / "shop", port=0, workers=1, drain_s=0.05)
    shop.promote(shop.release())
    models = open_models(folder / "models")
    publish_spending(models, {"somebody@example.org": (3.0, "gold")})
    models.promote(CHURN, churn(), churn_signature())
    models.promote(SPECIES, *sized("classes", "species", ("a", "b")))
    models.promote(BUYER, *buyer(), modules={MODULE: SOURCE})
    with start(shop.plan()) as one, start(models.plan()) as two:
        for server in (one, two):
            server.wait_ready(60)
        yield [(one, shop.root), (two, models.root)]
