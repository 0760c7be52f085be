"""Decoder interface: raw columns of the well-formed lines, and the malformed lines."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import polars as pl

from tidemill.sources.files.blocks import LineBlock


class LineRefusal(NamedTuple):
    """A line that is not taken. `column` is empty where the line as a whole is wrong."""

    line: int
    column: str
    reason: str
    raw: bytes


class RawColumns(NamedTuple):
    """Raw columns by the contract's names, with `_line`; and refused lines."""

    raw: pl.DataFrame
    refused: list[LineRefusal]


class LineDecoder(Protocol):
    """Takes a block of lines apart."""

    def decode(self, block: LineBlock) -> RawColumns:
        """Raw columns and refused lines of a block."""
        ...


def raw_lines(block: LineBlock, lines: list[int]) -> dict[int, bytes]:
    """The bytes of the records that start on some lines of a block, as they came, without the line end."""
    if not lines:
        return {}
    texts = block.data.split(b"\n")
    found = {}
    for line in lines:
        start = end = line - block.first
        while _open(texts[start : end + 1]) and end + 1 < len(texts):  # a quoted field with line ends in it
            end += 1
        found[line] = b"\n".join(texts[start : end + 1]).removesuffix(b"\r")
    return found


def _open(texts: list[bytes]) -> bool:
    """Whether a CSV record goes on; a line of JSON never does."""
    return not texts[0].lstrip().startswith(b"{") and sum(text.count(b'"') for text in texts) % 2 == 1
