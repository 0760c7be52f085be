"""A damaged LMDB file is refused before LMDB follows its pointers, or the damage has no effect on any row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.backends.lmdb.lmdb_page_check import check_pages
from tidemill.core.errors import CorruptFile

KEYS = [f"user {number}" for number in range(300)]


def row(key: str) -> dict[str, object]:
    return {"text": key * 3, "n": len(key)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("latest")
    latest = LmdbLatest(root)
    for start in range(0, len(KEYS), 30):
        latest.change("v", {key: lambda _, key=key: row(key) for key in KEYS[start : start + 30]}, start)
    latest.put("v", "long", {"text": "x" * 9_000, "n": 0}, 1)  # has pages of its own
    latest.close()
    return root / "fresh" / "data.mdb"


def answers(root: Path) -> list[object]:
    latest = LmdbLatest(root)
    try:
        return [latest.get("v", key) for key in (*KEYS, "long")]
    finally:
        latest.close()


def test_a_whole_file_passes(file: Path) -> None:
    check_pages(file)


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_page_is_refused_or_harmless(file: Path, tmp_path: Path, seed: int) -> None:
    draw, content = random.Random(seed), file.read_bytes()
    damaged = tmp_path / "fresh" / "data.mdb"
    damaged.parent.mkdir()
    right = [row(key) for key in KEYS] + [{"text": "x" * 9_000, "n": 0}]
    refused = 0
    for _ in range(60):
        changed = bytearray(content)
        page = draw.randrange(len(content) // 4096)
        changed[page * 4096 + draw.choice([draw.randrange(64), draw.randrange(4096)])] ^= 1 << draw.randrange(8)
        damaged.write_bytes(changed)
        try:
            found = answers(tmp_path)
        except CorruptFile:
            refused += 1
            continue
        # a changed key hides its row, which `verify` tells
        lost = [key for key, one, was in zip((*KEYS, "long"), found, right, strict=True) if one != was]
        assert not lost or LmdbLatest(tmp_path).damage(), lost
    assert refused > 5


@pytest.mark.parametrize("size", [0, 100, 4096, 8192, 20_000])
def test_a_truncated_file_is_refused(file: Path, tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "data.mdb"
    damaged.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CorruptFile, match=r"truncated|not valid"):
        check_pages(damaged)
