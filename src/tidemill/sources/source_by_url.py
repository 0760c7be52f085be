"""Source named by a URL, found by entry point."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SettingError, nearest
from tidemill.core.installed_packages import entry_points, only_one
from tidemill.core.ports import Source


def open_source(url: str, contract: Contract, base: Path) -> Source:
    """The source for `url`, chosen by its scheme; nothing is read yet.

    Raises `SettingError` where no source for that scheme is installed.
    """
    scheme = url.partition(":")[0]
    found = entry_points("tidemill.sources")
    if scheme not in found:
        raise SettingError(f"no source reads `{scheme}:` URLs: {nearest(scheme, found)}")
    source: Source = only_one(found[scheme], "source").load()(url, contract, base)
    return source
