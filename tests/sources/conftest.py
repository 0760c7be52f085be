"""Fixtures of the sources' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from source_reader import Reader, Review

from tidemill.core.contract.contract import Contract
from tidemill.core.source_read import ReadRequest, SourceRead
from tidemill.sources import FileSource


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Reads reviews below `tmp_path`."""
    return Reader(tmp_path, Review.contract)


@pytest.fixture
def read_once(tmp_path: Path) -> Callable[..., SourceRead]:
    """Reads one content, once, by a contract."""

    def read(content: bytes, contract: Contract = Review.contract, query: str = "", **more: Any) -> SourceRead:
        (tmp_path / "input").write_bytes(content)
        return FileSource(f"file:input{query}", contract, tmp_path).read(ReadRequest(**more))

    return read
