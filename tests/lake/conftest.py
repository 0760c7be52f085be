"""A lake on real back-ends, opened as often as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shop_lake import Shop

from tidemill.core.storage.failpoint import arm


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], Shop]:
    return lambda: Shop(tmp_path)


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    arm(None)
