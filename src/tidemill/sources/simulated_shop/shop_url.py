"""Shop URL (`shop:`): the size, the behaviour and the seed of a simulated shop."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from tidemill.core.clock import FIRST_DAY, LAST_DAY, OUT_OF_RANGE
from tidemill.core.errors import SettingError, nearest
from tidemill.core.record_format import Record
from tidemill.sources.files.file_url import split_url


class ShopUrl(Record, frozen=True):
    """`shop:reviews?seed=7&customers=2000&items=600&start=2026-01-01`; every option has a default.

    The same options give exactly the same rows.
    """

    #: `reviews` or `items`; by default `reviews` for a contract with a person, else `items`.
    table: Literal["reviews", "items", ""] = ""
    seed: int = 7
    customers: int = 2000
    items: int = 600
    start: date = date(2026, 1, 1)
    #: The number of days over which items appear, customers join and tastes drift.
    days: int = 365
    #: Ratings per customer and day, on average.
    rate: float = 0.1
    #: Accounts that promote a few items with five stars.
    bots: int = 4
    #: Share of rows that arrive one to five days late, and of rows that are delivered twice.
    late: float = 0.02
    repeated: float = 0.01
    #: A day with a faulty delivery: ratings on a scale to 100, every row twice.
    bad: date | None = None


def parse_shop_url(url: str) -> ShopUrl:
    """Parse a `shop:` URL; an unknown option or a value out of range is refused.

    >>> parse_shop_url("shop:items?seed=3&customers=50").customers
    50
    """
    names = tuple(name for name in ShopUrl.__struct_fields__ if name != "table")
    table, options = split_url(url, "shop", names)
    options = {name: unquote(text) for name, text in options.items()}
    if table not in ("", "reviews", "items"):
        raise SettingError(f"the simulated shop has no table `{table}`: {nearest(table, ('reviews', 'items'))}")
    given: dict[str, Any] = {"table": table, **options}
    try:
        shop = msgspec.convert(given, ShopUrl, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(f"the source `{url}` is not valid: {error}") from None
    for name in ("customers", "items", "days"):
        if getattr(shop, name) < 1:
            raise SettingError(f"the source `{url}` needs `{name}` of at least 1")
    if not FIRST_DAY <= shop.start <= LAST_DAY:
        raise SettingError(f"the source `{url}` has a `start` that {OUT_OF_RANGE}")
    for name in ("late", "repeated"):
        if not 0 <= getattr(shop, name) < 1:
            raise SettingError(f"the source `{url}` needs `{name}` between 0 and 1")
    if shop.rate <= 0 or shop.bots < 0 or shop.seed < 0:
        raise SettingError(f"the source `{url}` needs a positive `rate`, and no negative `bots` or `seed`")
    return shop
