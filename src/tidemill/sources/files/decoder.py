"""Decoder interface: raw columns of the well-formed lines, and the malformed lines."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import polars as pl

from tidemill.sources.files.blocks import LineBlock


class LineRefusal(NamedTuple):
    """A refused line. `column` is empty where the line as a whole is malformed."""

    line: int
    column: str
    reason: str
    raw: bytes


class RawColumns(NamedTuple):
    """Raw columns with the contract's names and `_line`, and the refused lines."""

    raw: pl.DataFrame
    refused: list[LineRefusal]


class LineDecoder(Protocol):
    """Decodes a block of lines."""

    def decode(self, block: LineBlock) -> RawColumns:
        """Raw columns and refused lines of a block."""
        ...


def raw_lines(block: LineBlock, lines: list[int]) -> dict[int, bytes]:
    """The original bytes of the records that start on the given lines of a block, without the line end."""
    if not lines:
        return {}
    texts = block.data.split(b"\n")
    raw = {}
    for line in lines:
        start = end = line - block.first
        while _open(texts[start : end + 1]) and end + 1 < len(texts):  # a quoted field that contains line ends
            end += 1
        raw[line] = b"\n".join(texts[start : end + 1]).removesuffix(b"\r")
    return raw


def _open(texts: list[bytes]) -> bool:
    """Whether a CSV record continues on the next line; a JSON line never does."""
    return not texts[0].lstrip().startswith(b"{") and sum(text.count(b'"') for text in texts) % 2 == 1
