"""Dialect of a text file: its encoding, the delimiter of its fields and its decimal mark, as found by looking.

An encoding or a decimal mark is only ever used if the URL names it: a wrong guess would change values. A delimiter is
also used where it was found, because a wrong one gives other columns, which the contract refuses.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from tidemill.core.errors import SourceDamaged
from tidemill.sources.files.csv_record import records

Decimal = Literal["point", "comma"]
#: Names of delimiters in a URL.
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}
BOM = b"\xef\xbb\xbf"

_RECORDS = 200
#: Share of records with the usual number of fields, at least.
_REGULAR = 0.9
#: Text of Western Europe outside ASCII; bytes that give other characters in windows-1252 are of another encoding.
_WESTERN = re.compile("[\\s!-~À-ÖØ-öø-ÿŒœŠšŽžŸ€£¥§©®°±²½¼¾µ·«»‘’“”„–—…™¿¡ªº\u00a0]*")
#: Python's names of the other encodings that are looked for.
_ENCODINGS = (
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "koi8_r", "mac_roman", "cp437",
    "cp850", "cp852", "cp866", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr",
)  # fmt: skip


class Dialect(NamedTuple):
    """How the values of a text file are written."""

    #: Python's name of it.
    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: Decimal = "point"
    #: Texts that mean a missing value in columns that are not text.
    missing: frozenset[str] = frozenset()


def detect_encoding(head: bytes) -> str:
    """The encoding of text by its beginning: by its mark, UTF-8 if it is valid, or else the likeliest other one.

    >>> detect_encoding("Größe;Ort".encode("cp1252")), detect_encoding("Größe;Ort".encode("utf-16"))
    ('cp1252', 'utf-16')
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    if _WESTERN.fullmatch(head.decode("cp1252", errors="replace")):
        return "cp1252"
    from charset_normalizer import from_bytes  # noqa: PLC0415 - rarely needed

    best = from_bytes(head, cp_isolation=list(_ENCODINGS)).best()
    return best.encoding if best else "cp1252"


def detect_delimiter(head: bytes) -> str:
    r"""The delimiter of UTF-8 text by its beginning: the one that gives the same number of fields in most records.

    >>> detect_delimiter(b"a;b\n0,5;1\n0,7;2\n")
    ';'
    """
    whole = head[: head.rfind(b"\n") + 1] or head
    first = whole.lstrip(b"\r\n").partition(b"\n")[0]
    if b'"' not in first and not any(mark.encode() in first for mark in DELIMITERS.values() if mark != ","):
        return ","  # no other one can give the first record two fields
    best, widest = ",", 1
    for mark in DELIMITERS.values():
        if mark == " " and widest > 1:  # words of a text are no fields
            break
        widths = [len(fields) for _, fields, _, _ in islice(records(whole, ord(mark)), _RECORDS)]
        if not widths:
            continue
        usual, times = Counter(widths).most_common(1)[0]
        if widths[0] == usual > widest and times >= _REGULAR * len(widths):
            best, widest = mark, usual
    return best


def as_utf8(pieces: Iterable[bytes], encoding: str, path: Path) -> Iterator[bytes]:
    """Content in an encoding as UTF-8 without a byte order mark. Raises `SourceDamaged` where it is not of it."""
    if encoding == "utf-8":
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise SourceDamaged(
            f"{path} has bytes that are not {encoding}; no rows of it were ingested",
            tip="set its encoding with `encoding=` in the URL, or save it as UTF-8",
        ) from error
