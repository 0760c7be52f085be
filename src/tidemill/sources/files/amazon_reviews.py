"""Amazon's published reviews and metadata, detected by content: the 2014, 2018 and 2023 editions.

Reviews: https://nijianmo.github.io/amazon/ (2018) and https://amazon-reviews-2023.github.io/ (2023).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tidemill.core.contract.contract import Contract, ContractColumn
from tidemill.sources.files.file_url import SKIP, ColumnSpec, Unit

_ASIN = re.compile(r"^[A-Z0-9]{10}\Z")
_READER = re.compile(r"^A[A-Z0-9]{9,20}\Z")
_STARS = re.compile(r"^[1-5](\.0)?\Z")
_SECONDS = re.compile(r"^\d{9,10}\Z")

# Contract column (by role, else by name) -> field of the source and its unit.
_Fields = dict[str, tuple[str, Unit | None]]
_REVIEW_2018: _Fields = {
    "subject": ("reviewerID", None),
    "item": ("asin", None),
    "event_time": ("unixReviewTime", "unix_s"),
    "rating": ("overall", None),
    "stars": ("overall", None),
    "text": ("reviewText", None),
}
_REVIEW_2023: _Fields = {
    "subject": ("user_id", None),
    "item": ("parent_asin", None),
    "event_time": ("timestamp", "unix_ms"),
    "stars": ("rating", None),
    "verified": ("verified_purchase", None),
}
_ITEM_2018: _Fields = {"item": ("asin", None), "category": ("category", "last_html"), "price": ("price", "money")}
_ITEM_2023: _Fields = {
    "item": ("parent_asin", None),
    "category": ("categories", "last_html"),
    "price": ("price", "money"),
}

# Required fields, absent fields, and the mapping of each kind of file.
_KINDS: tuple[tuple[set[str], set[str], _Fields], ...] = (
    ({"asin", "reviewerID", "overall", "unixReviewTime"}, set(), _REVIEW_2018),
    ({"user_id", "parent_asin", "rating", "timestamp"}, set(), _REVIEW_2023),
    ({"asin", "category", "title"}, {"reviewerID"}, _ITEM_2018),
    ({"asin", "categories"}, {"reviewerID", "parent_asin"}, {**_ITEM_2018, "category": ("categories", "last_html")}),
    ({"parent_asin", "main_category", "categories"}, {"user_id"}, _ITEM_2023),
)


def amazon_fields(contract: Contract, found: Sequence[str]) -> tuple[ColumnSpec, ...] | None:
    """The mapping of Amazon's JSON lines to a contract, or `None` where the fields are not those of Amazon.

    Columns are matched by role (person, item, time), then `rating`, `text`, `category` and `price` by name; any other
    column takes the field of the same name.
    """
    names = set(found)
    for needed, absent, fields in _KINDS:
        if needed <= names and not absent & names:
            return tuple(spec for column in contract.columns if (spec := _spec(column, fields)) is not None)
    return None


def _spec(column: ContractColumn, fields: _Fields) -> ColumnSpec | None:
    source = fields.get(column.role or column.name)
    return None if source is None else ColumnSpec(name=column.name, source=source[0], unit=source[1])


def amazon_csv(contract: Contract, rows: Sequence[Sequence[str]]) -> tuple[ColumnSpec, ...] | None:
    """The mapping of Amazon's rating lines without a header, or `None`: `item,user,rating,seconds` or `user,item,…`.

    The pattern of most lines decides: an item id has ten letters or digits, a user id starts with A.
    """
    whole = [row for row in rows if len(row) == 4 and _STARS.match(row[2]) and _SECONDS.match(row[3])]
    if not whole or len(whole) < 0.9 * len(rows):
        return None
    item_first = sum(bool(_ASIN.match(row[0]) and _READER.match(row[1])) for row in whole)
    user_first = sum(bool(_READER.match(row[0]) and _ASIN.match(row[1])) for row in whole)
    if max(item_first, user_first) < 0.9 * len(whole):
        return None
    subject, item, time = contract.role("subject"), contract.role("item"), contract.event_time
    rating = [name for name in contract.names if name in ("rating", "stars")]
    things = [item, subject] if item_first >= user_first else [subject, item]
    things.append(rating)
    names = [names[0] if names else SKIP for names in things]
    return (*(ColumnSpec(name=name) for name in names), ColumnSpec(name=time, unit="unix_s"))
