"""Where do rows come from? Files as they lie about, and a simulated shop whose truth is known.

Upstream is the world. A source gives good and refused rows, typed by the stream's contract, numbered once and for all,
each belonging to exactly one day; it keeps nothing itself. What it has seen is handed back to the caller as records,
who keeps them in the ledger and hands them in the next time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.sources.days import day_bounds
    from tidemill.sources.files import FileSource
    from tidemill.sources.known import KnownFile
    from tidemill.sources.open import open_source
    from tidemill.sources.read import ReadStats, Source, SourceRead
    from tidemill.sources.shop import ShopSource
    from tidemill.sources.shop_truth import Oracle, Response, Shop, Truth
    from tidemill.sources.shop_url import ShopUrl
    from tidemill.sources.url import ColumnSpec, FileUrl

__all__ = [
    "ColumnSpec",
    "FileSource",
    "FileUrl",
    "KnownFile",
    "Oracle",
    "ReadStats",
    "Response",
    "Shop",
    "ShopSource",
    "ShopUrl",
    "Source",
    "SourceRead",
    "Truth",
    "day_bounds",
    "open_source",
]

_HOME = {
    "ColumnSpec": "url",
    "FileSource": "files",
    "FileUrl": "url",
    "KnownFile": "known",
    "Oracle": "shop_truth",
    "ReadStats": "read",
    "Response": "shop_truth",
    "Shop": "shop_truth",
    "ShopSource": "shop",
    "ShopUrl": "shop_url",
    "Source": "read",
    "SourceRead": "read",
    "Truth": "shop_truth",
    "day_bounds": "days",
    "open_source": "open",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
