"""A shop for tests that only read it, and a server of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served_client import Client
from served_shop import Shop, open_shop

from tidemill.serving import ServerHandle, start


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with one promoted release; tests leave it as it is."""
    made = open_shop(tmp_path_factory.mktemp("shop") / "project", port=0, workers=1, drain_s=0.05, slot_s=3600)
    made.promote(made.release())
    return made


@pytest.fixture(scope="session")
def server(shop: Shop) -> Iterator[ServerHandle]:
    """A running server of that shop with one worker."""
    with start(shop.plan()) as running:
        running.wait_ready(60)
        yield running


@pytest.fixture
def ask(server: ServerHandle) -> Iterator[Client]:
    client = Client(server.port)
    yield client
    client.connection.close()


@pytest.fixture
def log_folder(shop: Shop) -> Path:
    return shop.stores.state / "log"
