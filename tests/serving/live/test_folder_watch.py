"""Waiting for changed state files: a replaced file wakes at once; without inotify the process looks often."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.serving.live import folder_watch
from tidemill.serving.live.folder_watch import UNWATCHED_S, WATCHED_S, FolderWatch, pidfd
from tidemill.serving.live.state_files import overwrite_in_place, write_state

pytestmark = pytest.mark.skipif(folder_watch.INOTIFY is None, reason="inotify is on Linux only")
#: Far longer than a change takes to be reported: reached only if it is not reported.
PATIENCE_S = 30.0


@pytest.fixture
def watch() -> Iterator[FolderWatch]:
    watch = FolderWatch()
    yield watch
    watch.close()


def wakes(watch: FolderWatch, *others: int) -> bool:
    started = time.monotonic()
    watch.wait(PATIENCE_S, others)
    return time.monotonic() - started < PATIENCE_S / 2


def test_a_new_a_replaced_an_overwritten_and_a_removed_file_wake(watch: FolderWatch, tmp_path: Path) -> None:
    watch.add([tmp_path])
    file = tmp_path / "live.json"
    for change in (
        lambda: write_state(file, {"release": 1}),
        lambda: write_state(file, {"release": 2}),
        lambda: overwrite_in_place(file, b"{}"),
        file.unlink,
        (tmp_path / "model").mkdir,
    ):
        threading.Timer(0.05, change).start()
        assert wakes(watch)
        time.sleep(0.1)  # the rest of the change
        watch.drain()
    watch.wait(0.01)  # nothing is left over


def test_a_folder_that_comes_later_is_watched_once_it_is_added_again(watch: FolderWatch, tmp_path: Path) -> None:
    watch.add([tmp_path / "for_you"])
    (tmp_path / "for_you").mkdir()
    watch.add([tmp_path / "for_you"])
    write_state(tmp_path / "for_you" / "live.json", {})
    assert wakes(watch)


def test_the_end_of_a_process_wakes(watch: FolderWatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"])
    ended = pidfd(child.pid)
    assert wakes(watch, ended)
    child.wait()
    os.close(ended)


def test_without_inotify_it_looks_often(watch: FolderWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch.timeout_s == WATCHED_S
    monkeypatch.setattr(folder_watch, "INOTIFY", None)
    watch = FolderWatch()
    watch.add([tmp_path])
    assert (watch.fileno(), watch.timeout_s) == (-1, UNWATCHED_S)
    watch.wait(0.01)
    watch.drain()


def test_when_no_more_folders_can_be_watched_it_looks_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_watch.INOTIFY.INotify, "add_watch", refuses)  # type: ignore[union-attr]
    watch = FolderWatch()
    watch.add([tmp_path])
    assert (watch.fileno(), watch.timeout_s) == (-1, UNWATCHED_S)
