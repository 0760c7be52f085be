"""Blobs in a folder: the suite, another disk, and two writers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tidemill.backends.folder_blobs import FolderBlobs
from tidemill.core.ports import Blobs
from tidemill.testing.blobs import BlobsSuite, finished


class TestFolderBlobs(BlobsSuite):
    def make(self, root: Path) -> Blobs:
        return FolderBlobs(root)


def test_a_folder_from_another_disk_is_copied_in_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(source: str, place: Path) -> None:
        monkeypatch.undo()
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    source = finished(tmp_path / "made", one="1")
    monkeypatch.setattr(os, "rename", other_disk)
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put_folder("a", source)
    assert (Path(blobs.folder("a")) / "one").read_text() == "1"
    assert not Path(source).exists()
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == ["a"]


def test_the_writer_that_comes_second_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename another writer stored the key."""
    rename = os.rename

    def late(source: str, place: Path) -> None:
        monkeypatch.undo()
        rename(finished(tmp_path / "other", one="first"), place)
        rename(source, place)

    blobs = FolderBlobs(tmp_path / "blobs")
    source = finished(tmp_path / "made", one="second")
    monkeypatch.setattr(os, "rename", late)
    blobs.put_folder("a", source)
    assert (Path(blobs.folder("a")) / "one").read_text() == "first"
    assert not Path(source).exists()
