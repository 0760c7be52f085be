"""A mill as an older tidemill left it, unpacked anew for each test."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import Project

from tidemill.core.clock import FixedClock

HERE = Path(__file__).parent
#: Where the mill of format 1 was made: its pointers name their bundles by absolute paths.
PLACE_1 = "/srv/tidemill-formats/mill"


@pytest.fixture
def mill(tmp_path: Path) -> Project:
    """The mill of format 1, as if it had been made here."""
    with tarfile.open(HERE / "1" / "mill.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    path = tmp_path / "mill"
    for name in ("live.json", "serving.json"):
        for file in (path / ".tidemill" / "serving").glob(f"*/{name}"):
            file.write_text(file.read_text().replace(PLACE_1, str(path)))
    return Project(path, FixedClock(datetime(2026, 12, 15, tzinfo=UTC)))


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    """What the older tidemill said of the mill, and what its server answered."""
    found: dict[str, Any] = json.loads((HERE / "1" / "expected.json").read_text())
    return found
