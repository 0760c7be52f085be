"""Display names of items: the title if there is a readable one, else the id."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

#: Candidate columns for the name of an item, and for its group; the first existing one is used.
TITLES, GROUPS = ("title", "name", "label"), ("category", "genre", "brand")
_TAG = re.compile(r"<[/!]?[A-Za-z][^>]*(?:>|\Z)")
_LONGEST = 70


@dataclass(frozen=True)
class ItemNames:
    """Titles and groups of items by id. Called with an id, it returns the display name.

    >>> names = ItemNames({"B1": "Vibe"}, {"B1": "Music"})
    >>> names("B1"), names("B2"), names.full("B1"), names.group("B2")
    ('Vibe', 'B2', 'Vibe (Music)', '')
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, item: str) -> str:
        return self.titles.get(item) or item

    def full(self, item: str) -> str:
        """The display name with the group: `Vibe (Music)`."""
        group = self.group(item)
        return f"{self(item)} ({group})" if group else self(item)

    def group(self, item: str) -> str:
        """The group of the item; empty if unknown."""
        return self.groups.get(item) or ""

    @classmethod
    def from_items(cls, items: pl.DataFrame, key: str) -> ItemNames:
        """From a table of items with one row per value of `key`."""
        return cls(_column(items, key, TITLES), _column(items, key, GROUPS))


def plain_title(text: str) -> str:
    """A title as plain text: HTML tags and entities are removed, and a long title is truncated.

    >>> plain_title('<span class="a-size-medium" Arts &amp;  Crafts'), plain_title("<b>Arts &amp;  Crafts</b>")
    ('', 'Arts & Crafts')
    """
    words = "".join(letter if letter.isprintable() else " " for letter in _TAG.sub(" ", html.unescape(text))).split()
    plain = " ".join(words)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1].rstrip() + "…"


def _column(items: pl.DataFrame, key: str, wanted: tuple[str, ...]) -> dict[str, str]:
    name = next((name for name in wanted if name in items.columns and items.schema[name] == pl.String), None)
    if name is None:
        return {}
    rows = zip(items[key].to_list(), items[name].to_list(), strict=True)
    return {item: title for item, text in rows if text and (title := plain_title(text))}
