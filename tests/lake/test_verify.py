"""What a disk, a stray writer or a hurried hand does to a lake is found and named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from shop_lake import Shop, publish, reviews

from tidemill.core.errors import CorruptFile


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve publications, made once; each test damages a copy."""
    shop = Shop(tmp_path_factory.mktemp("made"))
    for number in range(1, 13):
        publish(shop, number, reviews((f"user {number}", "x", 0, 1.0), first_row=number, increment=number, day=number))
    assert shop.lake.verify() == []
    return shop.root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Shop:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Shop(tmp_path)


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def data_files(shop: Shop) -> list[Path]:
    return sorted((shop.root / "lake" / "reviews").glob("*.parquet"))


def log_file(shop: Shop, version: int) -> Path:
    return shop.root / "lake" / "reviews" / "_delta_log" / f"{version:020d}.json"


def manifest_file(shop: Shop, version: int) -> Path:
    return shop.root / "lake" / "_tidemill" / "manifests" / "reviews" / f"{version}.json"


def only(problems: list[str], *words: str) -> None:
    assert problems and all(all(word in says for word in words) for says in problems), problems


def test_every_flipped_byte_of_a_data_file_is_found(lake: Shop) -> None:
    file = data_files(lake)[3]
    content = file.read_bytes()
    for at in range(0, len(content), 97):
        flip(file, at)
        only(lake.lake.verify(), file.name, "sha256")
        file.write_bytes(content)
    assert lake.lake.verify() == []


def test_a_missing_and_a_truncated_file_are_named_and_not_read_over(lake: Shop, reopen: Callable[[], Shop]) -> None:
    file = data_files(lake)[3]
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    only(lake.lake.verify(), file.name, "bytes")
    with pytest.raises(CorruptFile, match=file.name):
        reopen().lake.view().arrow("reviews")
    file.unlink()
    only(lake.lake.verify(), file.name, "missing")
    with pytest.raises(CorruptFile, match=file.name):
        reopen().lake.view().arrow("reviews")


def test_a_last_commit_emptied_by_a_power_cut_is_found(lake: Shop, reopen: Callable[[], Shop]) -> None:
    log_file(lake, 12).write_bytes(b"")
    only(reopen().lake.verify(), "00012.json", "empty")


def test_a_missing_commit_is_found(lake: Shop, reopen: Callable[[], Shop]) -> None:
    log_file(lake, 12).unlink()
    assert any("ends at version 11" in says for says in reopen().lake.verify())


def test_a_log_that_names_another_file_is_found(lake: Shop, reopen: Callable[[], Shop]) -> None:
    file = log_file(lake, 12)
    actions = [json.loads(line) for line in file.read_text().splitlines()]
    (added,) = [action["add"] for action in actions if "add" in action]
    before, added["path"] = added["path"], data_files(lake)[0].name
    file.write_text("\n".join(map(json.dumps, actions)))
    assert any(before in says and "version 12" in says for says in reopen().lake.verify())


def test_a_checkpoint_that_lies_to_its_readers_is_found(lake: Shop, reopen: Callable[[], Shop]) -> None:
    (checkpoint,) = (lake.root / "lake" / "reviews" / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    log_file(lake, 3).unlink()
    assert reopen().lake.verify() != []


def test_a_changed_and_a_missing_manifest_are_named(lake: Shop, reopen: Callable[[], Shop]) -> None:
    flip(manifest_file(lake, 12), 40)
    only(reopen().lake.verify(), "12.json", "differs")
    with pytest.raises(CorruptFile, match=r"12\.json"):
        reopen().lake.view().arrow("reviews")
    manifest_file(lake, 12).unlink()
    only(reopen().lake.verify(), "12.json", "missing")


def test_a_dropped_tail_of_the_ledger_shows_by_the_heads_in_the_tables(lake: Shop, reopen: Callable[[], Shop]) -> None:
    heads = lake.lake.heads()
    assert [head.seq for head in heads] == list(range(1, 13))
    assert lake.ledger.verify(heads) == []
    connection = sqlite3.connect(lake.root / "ledger.sqlite")
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'no_delete'").fetchone()
    connection.execute("DROP TRIGGER no_delete")
    connection.execute("DELETE FROM lines WHERE seq > 9")
    connection.execute(trigger)
    connection.commit()
    connection.close()
    cut = reopen()
    assert cut.ledger.verify() == []  # the chain alone does not show it
    assert any("it was truncated" in says for says in cut.ledger.verify(cut.lake.heads()))
    assert any("in no publication" in says for says in cut.lake.verify())


def test_checks_of_files_are_not_blind() -> None:
    """The sentences above come from differences: a helper that finds none of these words fails."""
    with pytest.raises(AssertionError):
        only([], "anything")
    with pytest.raises(AssertionError):
        only(["something else"], "anything")
