from __future__ import annotations

from pathlib import Path

import msgspec

from tidemill.serving.files import Watched, load, replace


class Thing(msgspec.Struct, frozen=True):
    n: int


def test_a_replaced_file_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    watched = Watched(path, Thing)
    assert not watched.look() and watched.content is None
    replace(path, Thing(1))
    assert watched.look() and watched.content == Thing(1)
    assert not watched.look()
    replace(path, Thing(2))
    assert watched.look() and watched.content == Thing(2)


def test_what_cannot_be_read_leaves_the_last_good_content(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    replace(path, Thing(1))
    watched = Watched(path, Thing)
    watched.look()
    path.write_text('{"n":')
    assert not watched.look() and watched.content == Thing(1)
    assert load(path, Thing) is None


def test_the_same_content_again_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    replace(path, Thing(1))
    watched = Watched(path, Thing)
    watched.look()
    replace(path, Thing(1))
    assert not watched.look()


def test_a_removed_file_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    replace(path, Thing(1))
    watched = Watched(path, Thing)
    watched.look()
    path.unlink()
    assert watched.look() and watched.content is None and not watched.look()
