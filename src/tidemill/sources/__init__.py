"""Sources of rows: files in common formats, events posted to the server, and a simulated shop with known truth.

A source returns accepted and refused rows, typed by the stream's contract, with permanent row ids, each belonging to
exactly one day. It stores nothing itself: the caller keeps the returned state and passes it to the next read. The port
is `tidemill.core.ports.Source`, and its records are in `tidemill.core.source_read`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.sources.csv_body import read_csv_body as read_csv_body
    from tidemill.sources.days import day_bounds as day_bounds
    from tidemill.sources.files.file_source import FileSource as FileSource
    from tidemill.sources.files.file_url import ColumnSpec as ColumnSpec
    from tidemill.sources.files.file_url import FileUrl as FileUrl
    from tidemill.sources.simulated_shop.shop_source import ShopSource as ShopSource
    from tidemill.sources.simulated_shop.shop_url import ShopUrl as ShopUrl
    from tidemill.sources.simulated_shop.truth import Shop as Shop
    from tidemill.sources.simulated_shop.truth import ShopOracle as ShopOracle
    from tidemill.sources.simulated_shop.truth import ShopResponse as ShopResponse
    from tidemill.sources.simulated_shop.truth import ShopTruth as ShopTruth
    from tidemill.sources.source_by_url import open_source as open_source
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "days": "day_bounds",
            "csv_body": "read_csv_body",
            "files.file_source": "FileSource",
            "files.file_url": "ColumnSpec FileUrl",
            "simulated_shop.shop_source": "ShopSource",
            "simulated_shop.shop_url": "ShopUrl",
            "simulated_shop.truth": "Shop ShopOracle ShopResponse ShopTruth",
            "source_by_url": "open_source",
        },
    )
