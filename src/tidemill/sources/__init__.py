"""Where do rows come from? Files as they lie about, and a simulated shop whose truth is known.

Upstream is the world. A source gives good and refused rows, typed by the stream's contract, numbered once and for all,
each belonging to exactly one day; it keeps nothing itself. What it has seen is its state, which the caller keeps and
hands in the next time. The port is `tidemill.core.ports.Source`, and its records are in `tidemill.core.source_read`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.sources.days import day_bounds as day_bounds
    from tidemill.sources.files import FileSource as FileSource
    from tidemill.sources.open import open_source as open_source
    from tidemill.sources.shop import ShopSource as ShopSource
    from tidemill.sources.shop_truth import Oracle as Oracle
    from tidemill.sources.shop_truth import Response as Response
    from tidemill.sources.shop_truth import Shop as Shop
    from tidemill.sources.shop_truth import Truth as Truth
    from tidemill.sources.shop_url import ShopUrl as ShopUrl
    from tidemill.sources.url import ColumnSpec as ColumnSpec
    from tidemill.sources.url import FileUrl as FileUrl
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "days": "day_bounds",
            "files": "FileSource",
            "open": "open_source",
            "shop": "ShopSource",
            "shop_truth": "Oracle Response Shop Truth",
            "shop_url": "ShopUrl",
            "url": "ColumnSpec FileUrl",
        },
    )
