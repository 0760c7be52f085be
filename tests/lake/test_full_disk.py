"""A disk without room: a plain error, the old version readable, and the same day again once there is room."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from play import play, sound, told
from shop_lake import Shop, publish, reviews

from tidemill.backends import delta
from tidemill.lake import held, intent, manifest


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "what"),
    [(delta.pq, "write_table"), (manifest, "write_durably"), (intent, "write_durably"), (held, "write_durably")],
)
def test_no_room_is_a_plain_error_and_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, what: str
) -> None:
    (tmp_path / "unharmed").mkdir()
    unharmed = Shop(tmp_path / "unharmed")
    play(unharmed)
    (tmp_path / "harmed").mkdir()
    shop = Shop(tmp_path / "harmed")
    with monkeypatch.context() as patched:
        patched.setattr(where, what, full)
        with pytest.raises(OSError, match="No space"):
            play(shop)
    play(shop)
    assert told(shop) == told(unharmed)
    sound(shop)


def test_what_was_published_stays_readable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shop, 1, reviews(("ann", "x", 0, 5.0)))
    with monkeypatch.context() as patched:
        patched.setattr(intent, "write_durably", full)
        with pytest.raises(OSError, match="No space"):
            publish(shop, 2, reviews(("bob", "x", 0, 5.0), first_row=9))
    assert shop.lake.view().arrow("reviews")["user_id"].to_pylist() == ["ann"]
