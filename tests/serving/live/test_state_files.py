from __future__ import annotations

from pathlib import Path

import msgspec

from tidemill.serving.live.state_files import WatchedFile, read_state, write_state


class Thing(msgspec.Struct, frozen=True):
    n: int


def test_a_replaced_file_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    watched = WatchedFile(path, Thing)
    assert not watched.poll() and watched.content is None
    write_state(path, Thing(1))
    assert watched.poll() and watched.content == Thing(1)
    assert not watched.poll()
    write_state(path, Thing(2))
    assert watched.poll() and watched.content == Thing(2)


def test_what_cannot_be_read_leaves_the_last_good_content(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    write_state(path, Thing(1))
    watched = WatchedFile(path, Thing)
    watched.poll()
    path.write_text('{"n":')
    assert not watched.poll() and watched.content == Thing(1)
    assert read_state(path, Thing) is None


def test_the_same_content_again_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    write_state(path, Thing(1))
    watched = WatchedFile(path, Thing)
    watched.poll()
    write_state(path, Thing(1))
    assert not watched.poll()


def test_a_removed_file_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    write_state(path, Thing(1))
    watched = WatchedFile(path, Thing)
    watched.poll()
    path.unlink()
    assert watched.poll() and watched.content is None and not watched.poll()
