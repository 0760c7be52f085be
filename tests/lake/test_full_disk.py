"""A disk without room: a plain error, the old version readable, and the same day again once there is room."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from play import play, sound, told
from shop_lake import Shop, publish, reviews

from tidemill.backends.delta import data_file
from tidemill.backends.folder_objects import FolderObjects

PUT = FolderObjects.put


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_for(folder: str) -> Any:
    """A `put` that finds no room for the objects of one folder."""

    def put(self: FolderObjects, name: str, body: bytes) -> bool:
        return full() if folder in name else PUT(self, name, body)

    return put


@pytest.mark.parametrize(
    ("where", "what", "fails"),
    [
        (data_file.pq, "write_table", full),
        *((FolderObjects, "put", full_for(folder)) for folder in ("manifests/", "intents/", "held/", "quarantine/")),
        (os, "link", full),
    ],
    ids=["data", "manifest", "intent", "held", "quarantine", "any object"],
)
def test_no_room_is_a_plain_error_and_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, what: str, fails: Any
) -> None:
    (tmp_path / "unharmed").mkdir()
    unharmed = Shop(tmp_path / "unharmed")
    play(unharmed)
    (tmp_path / "harmed").mkdir()
    shop = Shop(tmp_path / "harmed")
    with monkeypatch.context() as patched:
        patched.setattr(where, what, fails)
        with pytest.raises(OSError, match="No space"):
            play(shop)
    play(shop)
    assert told(shop) == told(unharmed)
    sound(shop)


def test_what_was_published_stays_readable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shop, 1, reviews(("ann", "x", 0, 5.0)))
    with monkeypatch.context() as patched:
        patched.setattr(FolderObjects, "put", full_for("intents/"))
        with pytest.raises(OSError, match="No space"):
            publish(shop, 2, reviews(("bob", "x", 0, 5.0), first_row=9))
    assert shop.lake.view().arrow("reviews")["user_id"].to_pylist() == ["ann"]
