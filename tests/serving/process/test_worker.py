"""The worker's polling of state files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tidemill.serving.live.folder_watch import FolderWatch
from tidemill.serving.process.worker import _poll


class Site:
    """A site whose state files lie in one folder."""

    loading = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def folders(self) -> list[Path]:
        return [self.folder]

    def poll(self) -> None:
        """Nothing to load."""


@pytest.mark.parametrize("ticks", range(5))
def test_polling_ends_also_if_a_state_file_changes_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    async def ended() -> bool:
        site: Any = Site(tmp_path)
        polling, drain, loop = asyncio.create_task(_poll(site)), FolderWatch.drain, asyncio.get_running_loop()

        def stop(left: int) -> None:
            loop.call_soon(stop, left - 1) if left else polling.cancel()

        def changed(watch: FolderWatch) -> None:
            drain(watch)
            stop(ticks)

        monkeypatch.setattr(FolderWatch, "drain", changed)
        await asyncio.sleep(0.05)
        (tmp_path / "live.json").write_text("{}")
        done, _ = await asyncio.wait({polling}, timeout=30)
        polling.cancel()
        return bool(done)

    assert asyncio.run(ended())
